//! Media that lie about themselves, media that somebody has tampered with, and strangers: nothing harms, nothing is told.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;
use std::time::Duration;

use nebula_client::api::{AssetState, CreateBucket, CreateKey, CreateLink, Grant, Role, routes};
use nebula_tests::{Appliance, Seed, Setup, films, wait, within};
use reqwest::{RequestBuilder, StatusCode};

/// For one test.
const LIMIT: Duration = Duration::from_mins(3);
/// Until everything is looked at, on a machine that does much else.
const LOOKED_AT: Duration = Duration::from_mins(2);
/// Of each film, so many are tampered with.
const TAMPERED: usize = 5;
/// Tables and headers lie in the first bytes of most containers.
const HEAD_BYTES: u64 = 4096;

async fn appliance() -> Appliance {
    let setup = Setup::default().config("[media]\nladder = []\n");
    let appliance = setup.start().await;
    for name in ["films", "others"] {
        let bucket = CreateBucket {
            name: name.into(),
            ..CreateBucket::default()
        };
        appliance.client().create_bucket(&bucket).await.unwrap();
    }
    appliance
}

/// A short film in a container of its own.
fn film(name: &str) -> Option<PathBuf> {
    #[rustfmt::skip]
    let arguments = [
        "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=24", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
        "-t", "5", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-g", "24", "-c:a", "libmp3lame",
    ];
    films::made(name, &arguments)
}

async fn put(appliance: &Appliance, key: &str, content: Vec<u8>) {
    let put = appliance.s3().put_object().bucket("films").key(key);
    put.body(content.into()).send().await.unwrap();
}

async fn judged(appliance: &Appliance, key: &str) -> (AssetState, Option<String>) {
    let client = appliance.client();
    let mut found = None;
    wait::patiently(LOOKED_AT, "the object is judged", async || {
        let asset = client.asset("films", key).await.unwrap();
        found = asset.filter(|asset| asset.state != AssetState::Indexing);
        found.is_some()
    })
    .await;
    let asset = found.unwrap();
    (asset.state, asset.container)
}

#[tokio::test]
async fn mislabelled_media_are_what_they_are() {
    within(LIMIT, async {
        let appliance = appliance().await;
        for (container, ending) in [("mp4", "mkv"), ("mkv", "mp4"), ("ts", "webm"), ("avi", "mov"), ("flv", "avi")] {
            let Some(film) = film(&format!("small.{container}")) else { return };
            let key = format!("truly-{container}.{ending}");
            put(&appliance, &key, std::fs::read(film).unwrap()).await;
            let (state, told) = judged(&appliance, &key).await;
            assert_eq!((state, told.as_deref()), (AssetState::Ready, Some(container)), "{key}");
            let master = appliance.get(&routes::hls_master("films", &key)).send().await.unwrap();
            assert_eq!(master.status(), 200, "{key}");
        }
        // A sound that calls itself a film is a sound; a picture is no film, whatever it is called.
        #[rustfmt::skip]
        let sound = films::made("small.mp3", &["-f", "lavfi", "-i", "sine=duration=3", "-c:a", "libmp3lame"]).unwrap();
        put(&appliance, "sound.mp4", std::fs::read(sound).unwrap()).await;
        assert_eq!(judged(&appliance, "sound.mp4").await.0, AssetState::Ready);
        appliance.fsck(false).await;
    })
    .await;
}

/// Everything beside a master playlist that plays: each is an answer, and no answer is a failure of the daemon's.
async fn play(appliance: &Appliance, key: &str) -> usize {
    let master = routes::hls_master("films", key);
    let folder = master.trim_end_matches("master.m3u8");
    let mut wanted = vec!["master.m3u8".to_owned(), "manifest.mpd".to_owned()];
    let mut asked = 0;
    while let Some(uri) = wanted.pop() {
        let answer = appliance
            .get(&format!("{folder}{uri}"))
            .send()
            .await
            .unwrap();
        let status = answer.status();
        asked += 1;
        // 503: it is being made playable.
        let fine = !status.is_server_error() || status == StatusCode::SERVICE_UNAVAILABLE;
        assert!(fine, "{key}: {uri}: {status}");
        let length = answer.content_length();
        let body = answer
            .bytes()
            .await
            .unwrap_or_else(|error| panic!("{key}: {uri}: {error}"));
        assert!(
            length.is_none_or(|length| length == body.len() as u64),
            "{key}: {uri}"
        );
        if status == 200 && uri.contains(".m3u8") {
            let text = String::from_utf8(body.to_vec()).unwrap();
            let tagged = text.split('"').filter(|part| part.contains("?c="));
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            wanted.extend(tagged.chain(lines).map(str::to_owned));
        }
    }
    asked
}

#[tokio::test]
async fn tampered_media_never_harm() {
    within(LIMIT, async {
        let appliance = appliance().await;
        let mut seed = Seed::new("tampered_media_never_harm");
        let mut keys = Vec::new();
        for container in ["mp4", "mkv", "ts", "flv", "avi"] {
            let Some(film) = film(&format!("small.{container}")) else {
                return;
            };
            let whole = std::fs::read(film).unwrap();
            for number in 0..TAMPERED {
                let mut content = whole.clone();
                let length = content.len() as u64;
                for _ in 0..seed.within(1, 40) {
                    // Every other one where it hurts most.
                    let end = if seed.within(0, 2) == 0 {
                        length
                    } else {
                        length.min(HEAD_BYTES)
                    };
                    let at = seed.within(0, end) as usize;
                    content[at] = seed.within(0, 256) as u8;
                }
                if number == 0 {
                    content.truncate(seed.within(HEAD_BYTES, length) as usize);
                }
                let key = format!("tampered-{number}.{container}");
                put(&appliance, &key, content).await;
                keys.push(key);
            }
        }
        let (mut ready, mut asked) = (0, 0);
        for key in &keys {
            if judged(&appliance, key).await.0 == AssetState::Ready {
                ready += 1;
            }
            asked += play(&appliance, key).await;
        }
        println!(
            "{ready} of {} tampered films play, {asked} answers",
            keys.len()
        );
        assert!(ready > 0, "nothing was left to be tampered with");
        assert_eq!(
            appliance.get("/-/readyz").send().await.unwrap().status(),
            200
        );
    })
    .await;
}

/// Status and body of a refusal, without the name of the request.
async fn refusal(request: RequestBuilder) -> (StatusCode, String) {
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let mut body: serde_json::Value = answer.json().await.unwrap_or_default();
    if let Some(body) = body.as_object_mut() {
        body.remove("request_id");
    }
    (status, body.to_string())
}

#[tokio::test]
async fn strangers_are_told_nothing_of_a_film() {
    within(LIMIT, async {
        let appliance = appliance().await;
        let Some(film) = film("small.mp4") else {
            return;
        };
        put(&appliance, "there.mp4", std::fs::read(film).unwrap()).await;
        assert_eq!(judged(&appliance, "there.mp4").await.0, AssetState::Ready);
        let client = appliance.client();
        let body = CreateKey {
            name: "a neighbour".into(),
            grants: vec![Grant {
                bucket: "others".into(),
                role: Role::Write,
                prefixes: Vec::new(),
            }],
            ..CreateKey::default()
        };
        let neighbour = client.create_key(&body).await.unwrap();
        let http = reqwest::Client::new();
        let doors: [fn(&str) -> String; 8] = [
            |key| routes::file("films", key),
            |key| routes::hls_master("films", key),
            |key| routes::hls_master("films", key).replace("master.m3u8", "manifest.mpd"),
            |key| routes::hls_master("films", key).replace("master.m3u8", "v0.m3u8"),
            |key| routes::hls_master("films", key).replace("master.m3u8", "v0-0.m4s"),
            |key| routes::poster("films", key),
            |key| routes::asset("films", key),
            |key| routes::object("films", key),
        ];
        for door in doors {
            let (there, absent) = (door("there.mp4"), door("never.mp4"));
            // What is not there is so for who may know.
            let known = appliance.get(&absent).send().await.unwrap();
            assert_eq!(known.status(), 404, "{absent}");
            for who in ["nobody", "a neighbour"] {
                let ask = |path: &str| {
                    let request = http.get(appliance.at(path));
                    if who == "nobody" {
                        return request;
                    }
                    request.basic_auth(&neighbour.key.id, Some(&neighbour.secret))
                };
                let (status, said) = refusal(ask(&there)).await;
                let wanted = if who == "nobody" { 401 } else { 403 };
                assert_eq!(status, wanted, "{who}: {there}");
                let other = refusal(ask(&absent)).await;
                let said = said.replace("there.mp4", "never.mp4");
                assert_eq!(other, (status, said), "{who}: {absent}");
            }
        }

        let wanted = CreateLink {
            bucket: "films".into(),
            key: Some("there.mp4".into()),
            expires_in_s: 600,
            ..CreateLink::default()
        };
        let link = client.create_link(&wanted).await.unwrap().urls.unwrap();
        let (file, hls) = (link.file, link.hls.unwrap());
        let whole = http.get(appliance.at(&hls)).send().await.unwrap();
        assert_eq!(whole.status(), 200);
        // One letter of the token changed, the film of another name, another door's words behind it: all one answer.
        let token = file.split('/').nth(3).unwrap();
        let altered = |at: usize| {
            let mut letters: Vec<char> = token.chars().collect();
            letters[at] = if letters[at] == 'A' { 'B' } else { 'A' };
            letters.into_iter().collect::<String>()
        };
        let mut said = Vec::new();
        for path in [
            hls.replace(token, &altered(1)),
            hls.replace(token, &altered(token.len() / 2)),
            file.replace(token, &altered(token.len() - 2)),
            hls.replace("there.mp4", "never.mp4"),
            file.replace("films/there.mp4", "others/there.mp4"),
        ] {
            let answer = refusal(http.get(appliance.at(&path))).await;
            assert_eq!(answer.0, 404, "{path}: {}", answer.1);
            said.push(answer);
        }
        said.dedup();
        assert_eq!(said.len(), 1, "{said:?}");
        // Beside the playlist are the film's own parts and no others.
        for leaf in [
            "v9.m3u8",
            "v0-999999999.m4s",
            "v0-init-7.mp4",
            "720p-00000000-0.m4s",
            "..%2fmaster.m3u8",
            "%00",
        ] {
            let path = hls.replace("master.m3u8", leaf);
            let status = http.get(appliance.at(&path)).send().await.unwrap().status();
            assert!(status.is_client_error(), "{path}: {status}");
        }
    })
    .await;
}

//! What a player is given of a film, by what it says of itself, by its name, and by nothing; and who is told why.

use std::time::Duration;

use nebula_api::{
    Asset, AssetState, KnownBy, Page, Playback, PlaybackMode, RenditionState, Stream, routes,
};
use nebula_tests::{Appliance, films, wait};
use reqwest::StatusCode;

use super::{bucket, problem, put};

/// Of a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(120);
const FILM: &str = "cinema.mkv";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

/// An appliance with a film that browsers see and do not hear: H.264 and AC-3 in Matroska.
async fn house() -> Option<Appliance> {
    #[rustfmt::skip]
    let film = films::made("film-ac3.mkv", &[
        "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=24", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
        "-t", "6", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-g", "48", "-c:a", "ac3",
    ])?;
    let house = nebula_tests::Setup::default()
        .config("[media]\nladder = []\n")
        .start()
        .await;
    bucket(&house, "films").await;
    put(&house, "films", FILM, &std::fs::read(film).unwrap()).await;
    // The sound that browsers take is made meanwhile.
    wait::patiently(PATIENCE, "the sound is made", async || {
        let asset = asset(&house, "").await;
        let ready = |state| state == RenditionState::Ready;
        asset.state == AssetState::Ready
            && asset.playback.is_some_and(|playback| {
                playback
                    .streams
                    .iter()
                    .any(|stream| stream.stream.starts_with("audio-"))
            })
            && asset.renditions.iter().all(|rung| ready(rung.state))
    })
    .await;
    Some(house)
}

async fn asset(house: &Appliance, query: &str) -> Asset {
    let path = format!("{}{query}", routes::asset("films", FILM));
    let answer = house.get(&path).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{query}");
    answer.json().await.unwrap()
}

async fn playback(house: &Appliance, query: &str) -> Playback {
    asset(house, query).await.playback.unwrap()
}

async fn master(house: &Appliance, query: &str, headers: &[(&str, &str)]) -> (StatusCode, String) {
    let path = format!("{}{query}", routes::hls_master("films", FILM));
    let mut request = house.get(&path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    if answer.status() == 200 {
        let vary: Vec<_> = answer.headers().get_all("vary").iter().collect();
        assert!(
            vary.iter().any(|vary| *vary == "User-Agent, Nebula-Player"),
            "{vary:?}"
        );
    }
    (answer.status(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_player_is_given_what_it_takes_and_told_why() {
    let Some(house) = house().await else { return };
    let has = |text: &str| (text.contains("ac-3"), text.contains("mp4a.40.2"));
    for (query, headers, wanted) in [
        ("", vec![], (true, true)),
        ("?player=firefox", vec![], (false, true)),
        ("", vec![("user-agent", FIREFOX)], (false, true)),
        ("?player=vlc", vec![("user-agent", FIREFOX)], (true, true)),
        (
            "",
            vec![("user-agent", FIREFOX), ("nebula-player", "audio=ac-3")],
            (true, false),
        ),
        ("?audio=ac3", vec![], (true, false)),
    ] {
        let (status, text) = master(&house, query, &headers).await;
        assert_eq!(status, 200, "{query} {headers:?}: {text}");
        assert_eq!(has(&text), wanted, "{query} {headers:?}: {text}");
        let manifest = format!("{}{query}", routes::hls_master("films", FILM));
        let manifest = manifest.replace("master.m3u8", "manifest.mpd");
        let mut request = house.get(&manifest);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let text = request.send().await.unwrap().text().await.unwrap();
        assert_eq!(has(&text), wanted, "{query}: {text}");
    }

    let told = playback(&house, "?player=firefox").await;
    assert_eq!(told.mode, PlaybackMode::Audio, "{}", told.reason);
    assert!(
        told.reason.contains("Firefox does not take AC-3 sound"),
        "{}",
        told.reason
    );
    assert_eq!(
        (told.player.as_str(), told.known_by),
        ("Firefox", KnownBy::Stated)
    );
    let of = |codecs: &str| {
        told.streams
            .iter()
            .find(|one| one.codecs == codecs)
            .unwrap()
    };
    assert!(!of("ac-3").given && of("ac-3").reason.is_some());
    assert!(of("mp4a.40.2").given);
    assert_eq!(
        playback(&house, "?player=kodi").await.mode,
        PlaybackMode::Direct
    );
    let remuxed = playback(&house, "?player=safari").await;
    assert_eq!(remuxed.mode, PlaybackMode::Remux, "{}", remuxed.reason);
    assert_eq!(playback(&house, "").await.known_by, KnownBy::Assumed);

    // Nothing that there is, is for such a player, and nothing more will come.
    let (status, text) = master(&house, "?player=firefox&lines=144", &[]).await;
    assert_eq!(status, 422, "{text}");
    assert!(text.contains("180 lines and Firefox shows 144"), "{text}");
    for wrong in [
        "?player=winamp",
        "?video=avc1.64",
        "?lines=many",
        "?hdr=perhaps",
    ] {
        let path = format!("{}{wrong}", routes::hls_master("films", FILM));
        let answer = house.get(&path).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{wrong}");
        let said = problem(answer).await;
        assert_eq!(said.code, "invalid_request", "{wrong}");
        let path = format!("{}{wrong}", routes::asset("films", FILM));
        let answer = house.get(&path).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{wrong}");
    }
}

#[tokio::test]
async fn who_watches_is_listed_with_what_was_decided() {
    let Some(house) = house().await else { return };
    let named = [("user-agent", FIREFOX)];
    let (_, text) = master(&house, "?player=safari", &named).await;
    let uri = text.lines().find(|line| line.starts_with('v')).unwrap();
    let folder = routes::hls_master("films", FILM).replace("master.m3u8", "");
    let playlist = house.get(&format!("{folder}{uri}")).send().await.unwrap();
    let playlist = playlist.text().await.unwrap();
    let listed = async || -> Vec<Stream> {
        let answer = house.get(routes::STREAMS).send().await.unwrap();
        answer.json::<Page<Stream>>().await.unwrap().items
    };
    assert!(listed().await.is_empty(), "playlists are not watched");
    let segment = playlist
        .lines()
        .find(|line| !line.starts_with('#'))
        .unwrap();
    let segment = house.get(&format!("{folder}{segment}"));
    let segment = segment.header("user-agent", FIREFOX).send().await.unwrap();
    assert_eq!(segment.status(), 200);
    let streams = listed().await;
    assert_eq!(streams.len(), 1, "{streams:?}");
    assert_eq!(streams[0].mode, PlaybackMode::Remux);
    let decision = streams[0].decision.as_ref().unwrap();
    // What it said when it asked for the playlist, not what its name says.
    assert_eq!(
        (decision.player.as_str(), decision.known_by),
        ("Safari", KnownBy::Stated)
    );
    assert_eq!(streams[0].reason, decision.reason);
}

#[tokio::test]
async fn the_command_explains() {
    let Some(house) = house().await else { return };
    let cli = house.cli();
    cli.login().await;
    let film = format!("films:{FILM}");
    let said = cli
        .ok(&["play", &film, "--explain", "--as", "firefox"])
        .await;
    assert!(
        said.contains("audio: Firefox does not take AC-3 sound"),
        "{said}"
    );
    let given = |word: &str| {
        let has = |line: &&str| line.split_whitespace().any(|each| each == word);
        said.lines().filter(has).count()
    };
    assert_eq!((given("yes"), given("no")), (2, 1), "{said}");
    let told = cli
        .json(&["play", &film, "--explain", "--as", "dlna"])
        .await;
    assert_eq!(told[0]["playback"]["mode"], "direct", "{told:?}");
    // A player that opens the file gets the file, another the playlist, which knows for whom it is.
    let address = cli.ok(&["play", &film, "--print"]).await;
    assert!(address.contains("/file/"), "{address}");
    let address = cli.ok(&["play", &film, "--print", "--as", "hls.js"]).await;
    assert!(
        address.trim().ends_with("/master.m3u8?player=hls.js"),
        "{address}"
    );
    let wrong = cli
        .run(&["play", &film, "--explain", "--as", "winamp"])
        .await;
    assert_ne!(wrong.code, Some(0));
    assert!(
        wrong.stderr.contains("winamp") && wrong.stderr.contains("kodi"),
        "{wrong:?}"
    );
}

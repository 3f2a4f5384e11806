//! What there is to choose of a film: told by the API and by the command, and chosen in the console.

use std::path::{Path, PathBuf};

use nebula_api::{Asset, AssetState, RenditionState, SubtitleFormat};
use nebula_client::transfer::Unwatched;
use nebula_client::upload::{self, Options};
use nebula_tests::browser;
use nebula_tests::{films, wait, within};
use serde_json::json;

use super::{LIMIT, MADE};
use crate::exact::{House, name};

/// How bright the film is at first, and by how much more every two seconds.
const LUMA: u32 = 50;
const LUMA_STEP: u32 = 11;
/// Where the second chapter begins, in milliseconds.
const SECOND_MS: u64 = 12_500;

fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Pictures that grow brighter every two seconds, three sounds of a tone each, two subtitles, two chapters.
fn film() -> Option<PathBuf> {
    let folder = tempfile::tempdir().unwrap();
    let said = |word: &str| format!("1\n00:00:01,000 --> 00:00:29,000\n{word}\n");
    let english = written(folder.path(), "en.srt", &said("Hello"));
    let german = written(folder.path(), "de.srt", &said("Guten Tag"));
    let chapters = written(
        folder.path(),
        "chapters.txt",
        ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=12500\ntitle=Opening\n\
         [CHAPTER]\nTIMEBASE=1/1000\nSTART=12500\nEND=30000\ntitle=The way home\n",
    );
    let grey = format!("geq=lum='{LUMA}+{LUMA_STEP}*floor((T+0.5)/2)':cb=128:cr=128");
    let picture = format!("color=black:size=320x180:rate=24,{grey}");
    #[rustfmt::skip]
    let arguments = [
        "-f", "lavfi", "-i", &picture,
        "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
        "-f", "lavfi", "-i", "sine=frequency=2000:sample_rate=48000",
        "-f", "lavfi", "-i", "sine=frequency=6000:sample_rate=48000",
        "-i", english.to_str().unwrap(), "-i", german.to_str().unwrap(), "-i", chapters.to_str().unwrap(),
        "-map", "0", "-map", "1", "-map", "2", "-map", "3", "-map", "4", "-map", "5", "-map_chapters", "6",
        "-t", "30", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-g", "48", "-sc_threshold", "0",
        "-c:a:0", "aac", "-c:a:1", "aac", "-c:a:2", "ac3", "-c:s", "srt",
        "-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=ger", "-metadata:s:a:2", "title=Director",
        "-metadata:s:s:0", "language=eng", "-metadata:s:s:1", "language=ger",
        "-disposition:a:0", "default", "-disposition:s:0", "0", "-disposition:s:1", "0",
    ];
    films::made("t-choices-1.mkv", &arguments)
}

/// The asset, once this is true of it.
pub(super) async fn asset(
    house: &House,
    key: &str,
    what: &str,
    holds: impl Fn(&Asset) -> bool,
) -> Asset {
    let (client, key) = (house.appliance.client(), format!("all/{key}"));
    let mut found = None;
    wait::patiently(MADE, what, async || {
        found = client.asset("films", &key).await.unwrap();
        found.as_ref().is_some_and(&holds)
    })
    .await;
    found.unwrap()
}

#[tokio::test]
async fn what_there_is_to_choose_is_told() {
    within(LIMIT, async {
        let Some(film) = film() else { return };
        let house = House::with(std::slice::from_ref(&film)).await;
        let key = name(&film);
        assert_eq!(house.looked_at(key).await, AssetState::Ready);
        let folder = tempfile::tempdir().unwrap();
        let beside = key.replace(".mkv", ".fr.sdh.srt");
        let text = "1\n00:00:01,000 --> 00:00:02,000\nBonjour\n";
        let path = written(folder.path(), &beside, text);
        let client = house.appliance.client();
        let options = Options {
            state: None,
            ..Options::default()
        };
        let to = format!("all/{beside}");
        let pushed = upload::push(&client, &path, "films", &to, &options, &Unwatched);
        pushed.await.unwrap();
        let made = |asset: &Asset| {
            let is_ready = |state| state == RenditionState::Ready;
            asset.subtitles.len() == 3 && asset.sounds.iter().all(|one| is_ready(one.state))
        };
        let told = asset(&house, key, "texts are read and sounds are made", made).await;
        let sounds: Vec<_> = told
            .sounds
            .iter()
            .map(|one| {
                (
                    one.track,
                    &*one.name,
                    one.language.as_deref(),
                    one.default,
                    one.original,
                )
            })
            .collect();
        assert_eq!(
            sounds,
            [
                (1, "English", Some("en"), true, true),
                (2, "Deutsch", Some("de"), false, true),
                (3, "Director", None, false, false),
            ]
        );
        let texts: Vec<_> = told
            .subtitles
            .iter()
            .map(|one| {
                (
                    &*one.name,
                    one.language.as_deref(),
                    one.hearing_impaired,
                    one.format,
                )
            })
            .collect();
        let format = SubtitleFormat::Webvtt;
        assert_eq!(
            texts,
            [
                ("English", Some("en"), false, format),
                ("Deutsch", Some("de"), false, format),
                ("Français (SDH)", Some("fr"), true, format),
            ]
        );
        for (one, word) in told.subtitles.iter().zip(["Hello", "Guten Tag", "Bonjour"]) {
            let answer = house.appliance.get(&one.url).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{}", one.url);
            assert!(answer.text().await.unwrap().contains(word), "{}", one.url);
        }
        let chapters: Vec<&str> = told.chapters.iter().map(|one| &*one.title).collect();
        assert_eq!(chapters, ["Opening", "The way home"]);
        let [first, second] = told.chapters.as_slice() else {
            panic!("{:?}", told.chapters)
        };
        assert!(first.start_ms == 0 && first.end_ms == second.start_ms);
        assert!(second.start_ms.abs_diff(SECOND_MS) < 50, "{second:?}");

        // Made when it is asked for; the API only tells.
        let board = told.storyboard.unwrap();
        assert_eq!(board.state, RenditionState::Pending);
        let answer = house.appliance.get(&board.url).send().await.unwrap();
        assert!(answer.status() == 503 || answer.status() == 200);
        let is_made = |asset: &Asset| {
            let board = asset.storyboard.as_ref();
            board.is_some_and(|board| board.state == RenditionState::Ready)
        };
        asset(&house, key, "the storyboard is made", is_made).await;
        let listed = client.assets(&nebula_api::AssetsQuery::default()).await;
        let listed = &listed.unwrap().items[0];
        assert!(listed.sounds.is_empty() && listed.chapters.is_empty());

        let cli = house.appliance.cli();
        cli.login().await;
        let object = format!("films:all/{key}");
        let said = cli.ok(&["play", &object, "--explain"]).await;
        for words in [
            "English (heard), Deutsch, Director (as AAC)",
            "English, Deutsch, Français (SDH)",
            "0:00 Opening",
            "The way home",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
        let said = &cli.json(&["play", &object, "--explain"]).await[0];
        assert_eq!(said["subtitles"][1]["name"], "Deutsch", "{said}");
        assert_eq!(said["storyboard"]["state"], "ready", "{said}");

        // Who may read the film and not the file beside it is not told of that.
        let key = client.create_key(&reader(key)).await.unwrap();
        let told = nebula_client::Client::new(&house.appliance.url(), Some(credentials(&key)));
        let told = told.unwrap().asset("films", &object[6..]).await.unwrap();
        assert_eq!(told.unwrap().subtitles.len(), 2);
    })
    .await;
}

/// A key that reads this one film.
fn reader(film: &str) -> nebula_api::CreateKey {
    nebula_api::CreateKey {
        name: "reader".into(),
        grants: vec![nebula_api::Grant {
            bucket: "films".into(),
            prefixes: vec![format!("all/{film}")],
            role: nebula_api::Role::Read,
        }],
        ..nebula_api::CreateKey::default()
    }
}

fn credentials(key: &nebula_api::CreatedKey) -> nebula_client::Credentials {
    nebula_client::Credentials {
        access_key: key.key.id.clone(),
        secret_key: key.secret.clone(),
    }
}

#[tokio::test]
async fn a_viewer_chooses_in_the_console_what_is_heard_read_and_seen() {
    within(LIMIT, async {
        let Some(driver) = browser::scripts("playwright-core") else {
            return;
        };
        let Some(film) = film() else { return };
        let house = House::with(std::slice::from_ref(&film)).await;
        let person = browser::person(&house.appliance, &driver, "choices.mjs").await;
        let Some(mut script) = person else { return };
        let key = name(&film);
        let made = |asset: &Asset| {
            let ready = |one: &nebula_api::Sound| one.state == RenditionState::Ready;
            asset.subtitles.len() == 2 && asset.sounds.iter().all(ready)
        };
        asset(&house, key, "texts are read and sounds are made", made).await;
        // As screens show what the film was made of: from the 16 to 235 of films to 0 to 255.
        let shown = |step: u32| f64::from(LUMA + LUMA_STEP * step - 16) * 255.0 / 219.0;
        let greys: Vec<f64> = (0..15).map(shown).collect();
        script
            .arg(format!("films/all/{key}"))
            .arg(json!(greys).to_string());
        let told = browser::told(&mut script).await;
        println!("the browser: {told}");
        assert_eq!(told["errors"], json!([]), "{told}");
        assert_eq!(told["credentials"], json!([]), "{told}");
        assert_eq!(told["sounds"], json!(["English", "Deutsch", "Director"]));
        assert_eq!(told["texts"], json!(["Off", "English", "Deutsch"]));
        // Found by the tone that is heard, and by the words that the browser shows.
        assert_eq!(told["heard"], json!([440, 2000, 6000]), "{told}");
        assert_eq!(told["read"], json!([null, "Guten Tag", null]), "{told}");
        // The next sitting begins in the same languages.
        let without = json!({ "text": "Off", "showing": 0 });
        let kept = json!({ "without": without, "sound": "Deutsch", "text": "English" });
        assert_eq!(told["kept"], kept, "{told}");

        // Each picture was seen that belongs to the time that was pointed at.
        assert_eq!(
            told["pointed"],
            json!([
                ["0:05", "Opening"],
                ["0:15", "The way home"],
                ["0:27", "The way home"]
            ])
        );
        assert_eq!(told["marks"], 1);
        let at = |name: &str| told["keyed"][name].as_f64().unwrap();
        let near = |name: &str, wanted: f64| {
            assert!(
                (at(name) - wanted).abs() < 0.5,
                "{name} is not {wanted}: {told}"
            );
        };
        near("Home", 0.0);
        near("ArrowRight", 5.0);
        near("PageUp", 12.5);
        near("chapter", 12.5);
        let says = told["says"].as_str().unwrap();
        assert!(
            says.starts_with("0:1") && says.ends_with("of 0:30, The way home"),
            "{says}"
        );
    })
    .await;
}

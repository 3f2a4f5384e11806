//! A film in a real browser: headless Chromium with hls.js plays it by a signed link from a page of another origin,
//! seeks, switches to every rung of the ladder and reaches the end, without an error.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use nebula_client::api::{CreateBucket, CreateLink, RenditionState};
use nebula_client::transfer::Unwatched;
use nebula_client::upload::{self, Options};
use nebula_tests::browser::{self, CHROMIUM};
use nebula_tests::{Appliance, films, wait, within};

/// For all of it.
const LIMIT: Duration = Duration::from_mins(6);
/// For the ladder, on a machine that does much else.
const LADDER_LIMIT: Duration = Duration::from_mins(3);

#[tokio::test]
async fn a_film_plays_seeks_and_changes_its_rung() {
    within(LIMIT, async {
        let Some(player) = browser::scripts("hls.js") else {
            return;
        };
        let Some(film) = films::large() else { return };
        let appliance = Appliance::start().await;
        let client = appliance.client();
        let bucket = CreateBucket {
            name: "films".into(),
            ..CreateBucket::default()
        };
        client.create_bucket(&bucket).await.unwrap();
        let options = Options {
            state: None,
            ..Options::default()
        };
        upload::push(
            &client,
            &film,
            "films",
            "bars & tones.mp4",
            &options,
            &Unwatched,
        )
        .await
        .unwrap();
        wait::patiently(LADDER_LIMIT, "the ladder is made", async || {
            let asset = client.asset("films", "bars & tones.mp4").await.unwrap();
            asset.is_some_and(|asset| {
                let ready = |state| state == RenditionState::Ready;
                asset.renditions.len() >= 2 && asset.renditions.iter().all(|rung| ready(rung.state))
            })
        })
        .await;

        let wanted = CreateLink {
            bucket: "films".into(),
            key: Some("bars & tones.mp4".into()),
            expires_in_s: 3600,
            ..CreateLink::default()
        };
        let link = client.create_link(&wanted).await.unwrap();
        let address = client.absolute(&link.urls.unwrap().hls.unwrap());
        let mut script = browser::script(&player, "play.mjs");
        let told = browser::told(script.args([&address, CHROMIUM])).await;
        println!("the browser: {told}");
        assert_eq!(told["errors"], serde_json::json!([]), "{told}");
        let mut heights: Vec<u64> = told["heights"]
            .as_array()
            .unwrap()
            .iter()
            .map(|height| height.as_u64().unwrap())
            .collect();
        heights.sort_unstable();
        assert_eq!(heights, [480, 720, 1080], "{told}");
        let length = told["duration"].as_f64().unwrap();
        assert!((length - f64::from(films::FILM_S)).abs() < 0.2, "{told}");
    })
    .await;
}

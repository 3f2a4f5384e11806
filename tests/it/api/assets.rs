//! Assets: what is a film, what failed to be one, and who may know.

use std::time::Duration;

use nebula_api::{Asset, AssetState, Page, PlaybackMode, Role, routes};
use nebula_tests::{Appliance, films, wait};

use super::{bucket, get_as, key, problem, put};

/// Of a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(120);

async fn asset(house: &Appliance, name: &str) -> Asset {
    let answer = house.get(&routes::asset("films", name)).send().await;
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 200, "{name}");
    answer.json().await.unwrap()
}

async fn found(house: &Appliance, search: &str) -> Vec<String> {
    let answer = house.get(routes::ASSETS).query(&[("search", search)]);
    let page: Page<Asset> = answer.send().await.unwrap().json().await.unwrap();
    page.items.into_iter().map(|asset| asset.key).collect()
}

#[tokio::test]
async fn a_film_is_described_and_found() {
    let Some(film) = films::mp4() else { return };
    let house = Appliance::start().await;
    bucket(&house, "films").await;
    bucket(&house, "other").await;
    let bytes = std::fs::read(film).unwrap();
    put(&house, "films", "dir/Bars.mp4", &bytes).await;
    wait::patiently(PATIENCE, "the film is looked at", async || {
        asset(&house, "dir/Bars.mp4").await.state == AssetState::Ready
    })
    .await;
    let film = asset(&house, "dir/Bars.mp4").await;
    assert_eq!(film.title, "A film of bars");
    assert_eq!(film.size_bytes, bytes.len() as u64);
    assert!(
        film.duration_ms
            .unwrap()
            .abs_diff(u64::from(films::FILM_S) * 1000)
            < 500
    );
    assert_eq!(film.tracks.len(), 2);
    assert_eq!(
        (film.tracks[0].width, film.tracks[0].height),
        (Some(1280), Some(720))
    );
    let playback = film.playback.unwrap();
    assert_eq!(playback.mode, PlaybackMode::Direct, "{}", playback.reason);
    assert!(
        !film.renditions.is_empty(),
        "rungs below the original are planned"
    );
    assert!(
        film.renditions
            .iter()
            .all(|rung| rung.width > 0 && rung.height > 0)
    );
    let poster = house.get(&film.urls.poster.unwrap()).send().await.unwrap();
    assert_eq!(poster.headers()["content-type"], "image/jpeg");
    assert!(poster.bytes().await.unwrap().starts_with(&[0xff, 0xd8]));
    let master = house.get(&film.urls.hls.unwrap()).send().await.unwrap();
    assert!(master.text().await.unwrap().starts_with("#EXTM3U"));

    let details = house
        .get(&routes::object("films", "dir/Bars.mp4"))
        .send()
        .await
        .unwrap();
    let details: nebula_api::ObjectDetails = details.json().await.unwrap();
    assert_eq!(details.asset.unwrap().state, AssetState::Ready);
    assert!(details.urls.hls.is_some());

    for search in ["", "bars FILM", "DIR/"] {
        assert_eq!(found(&house, search).await, ["dir/Bars.mp4"], "{search}");
    }
    assert!(found(&house, "bars nowhere").await.is_empty());
    let stranger = key(&house, "other", Role::Read).await;
    let page = super::json(get_as(&house, &stranger, routes::ASSETS).await).await;
    assert_eq!(page["items"], serde_json::json!([]));
}

#[tokio::test]
async fn what_cannot_be_played_says_why() {
    let house = Appliance::start().await;
    bucket(&house, "films").await;
    put(
        &house,
        "films",
        "words.mp4",
        &b"not a film at all ".repeat(64),
    )
    .await;
    put(&house, "films", "words.txt", b"plain").await;
    wait::patiently(PATIENCE, "the file is looked at", async || {
        asset(&house, "words.mp4").await.state == AssetState::Failed
    })
    .await;
    let failed = asset(&house, "words.mp4").await;
    assert!(failed.reason.is_some_and(|reason| !reason.is_empty()));
    assert_eq!((failed.urls.hls, failed.playback), (None, None));
    let text = house
        .get(&routes::asset("films", "words.txt"))
        .send()
        .await
        .unwrap();
    assert_eq!(problem(text).await.code, "asset_not_found");
}

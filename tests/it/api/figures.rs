//! What the metrics say of films: segments that were sent, and workers that died.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use nebula_api::{Asset, AssetState, routes};
use nebula_tests::{Appliance, Setup, films, wait};

use super::{bucket, put};

/// Of a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// The value of a metric with these labels; 0 before it moved.
async fn counted(house: &Appliance, metric: &str) -> u64 {
    let answer = house.get("/-/metrics").send().await.unwrap();
    let text = answer.text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(metric));
    line.map_or(0, |value| value.trim().parse().unwrap())
}

async fn state(house: &Appliance) -> AssetState {
    let answer = house.get(&routes::asset("films", "film.mp4")).send().await;
    let asset: Asset = answer.unwrap().json().await.unwrap();
    asset.state
}

#[tokio::test]
async fn segments_are_counted_when_they_are_sent() {
    let Some(film) = films::mp4() else { return };
    let house = Setup::default()
        .config("[media]\nladder = []\n")
        .start()
        .await;
    bucket(&house, "films").await;
    put(&house, "films", "film.mp4", &std::fs::read(film).unwrap()).await;
    wait::patiently(PATIENCE, "the film is looked at", async || {
        state(&house).await == AssetState::Ready
    })
    .await;
    let base = routes::hls_part("films", "film.mp4", "");
    let playlist = house.get(&format!("{base}v0.m3u8")).send().await.unwrap();
    let playlist = playlist.text().await.unwrap();
    let segments: Vec<&str> = playlist
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    for segment in &segments[..2] {
        let sent = house.get(&format!("{base}{segment}")).send().await.unwrap();
        assert_eq!(sent.status(), 200);
        sent.bytes().await.unwrap();
    }
    let missing = house.get(&format!("{base}v0-999999.m4s")).send().await;
    assert_eq!(missing.unwrap().status(), 404);
    let original = "nebula_media_segments_total{source=\"original\"}";
    assert_eq!(counted(&house, original).await, 2);
}

#[tokio::test]
async fn a_worker_that_dies_is_counted_by_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let worker = folder.path().join("nebula-worker");
    std::fs::write(&worker, "#!/bin/sh\nexit 3\n").unwrap();
    std::fs::set_permissions(&worker, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = format!(
        "[worker]\nbinary = {:?}\nacceleration = \"software\"\n",
        worker.to_str().unwrap()
    );
    let house = Setup::default().config(&config).start().await;
    bucket(&house, "films").await;
    put(
        &house,
        "films",
        "film.mp4",
        &b"whatever it is ".repeat(2000),
    )
    .await;
    wait::patiently(PATIENCE, "the film is given up", async || {
        state(&house).await == AssetState::Failed
    })
    .await;
    let deaths = counted(&house, "nebula_media_worker_deaths_total{cause=\"exit\"}").await;
    assert!(deaths >= 1, "{deaths}");
}

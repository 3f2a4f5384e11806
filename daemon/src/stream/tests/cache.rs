//! The room of renditions is bounded: what nobody watches goes, what is watched stays, and what went is made again under the same address.

use super::{entries, get, house, make, rung, small_rung, text};
use crate::catalog::RenditionState;
use crate::store::Evicted;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rendition_that_nobody_watches_gives_way_and_is_made_again() {
    // Its budget is one byte.
    let Some(house) = house(small_rung()).await else {
        return;
    };
    let bytes = make(
        house.dir.path(),
        "film.mp4",
        "-map 0 -c:v libx264 -preset ultrafast -g 25",
    )
    .await;
    house.put("film.mp4", bytes).await;
    let url = house.link("film.mp4").await;
    let stream = rung(&house, &url).await;
    let playlist = text(&format!("{url}/{stream}")).await;
    let (init, segments) = entries(&playlist);
    let last = format!("{url}/{}", segments.last().unwrap().0);
    let tag = etag(&last).await;

    let watched = house.media.keep_budget(60_000).await.unwrap();
    assert_eq!(watched, Evicted::default(), "somebody watches it");
    assert_eq!(get(&last).await.0, 200);

    house.media.keep_budget(0).await.unwrap();
    // The note that it was watched is as old as the last request, so it may take a moment until nobody does.
    let catalog = house.store.catalog();
    while catalog.cached_bytes().await.unwrap() > 0 {
        house.media.keep_budget(-1).await.unwrap();
    }
    let object = house
        .store
        .head(
            &"films".parse().unwrap(),
            &"film.mp4".parse().unwrap(),
            None,
        )
        .await
        .unwrap();
    let rows = catalog.renditions(object.content_id).await.unwrap();
    assert_eq!(rows[0].state().unwrap(), RenditionState::Evicted);
    // Files go behind the answer.
    house.store.settle().await;
    assert_eq!(house.store.fsck(true).await.unwrap().findings.len(), 0);

    // A player in mid-play is told to ask again, and gets the same address once it is there.
    let asked = reqwest::get(&last).await.unwrap();
    assert_eq!(asked.status(), 503);
    assert!(asked.headers().contains_key("retry-after"));
    assert_eq!(rung(&house, &url).await, stream);
    assert_eq!(text(&format!("{url}/{stream}")).await, playlist);
    assert_eq!(get(&format!("{url}/{init}")).await.0, 200);
    assert_ne!(
        etag(&last).await,
        tag,
        "an encoder seldom writes the same bytes twice"
    );
    house.close().await;
}

async fn etag(url: &str) -> String {
    let answer = reqwest::get(url).await.unwrap();
    assert_eq!(answer.status(), 200, "{url}");
    answer.headers()["etag"].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_made_of_a_film_goes_with_its_last_object() {
    let Some(house) = house(small_rung()).await else {
        return;
    };
    let bytes = make(
        house.dir.path(),
        "film.mp4",
        "-map 0 -c:v libx264 -preset ultrafast -g 25",
    )
    .await;
    house.put("film.mp4", bytes.clone()).await;
    house.put("copy.mp4", bytes).await;
    rung(&house, &house.link("film.mp4").await).await;
    let (films, catalog) = ("films".parse().unwrap(), house.store.catalog());
    let delete = async |key: &str| {
        let key = key.parse().unwrap();
        let condition = crate::store::Condition::default();
        let deleted = house.store.delete(&films, &key, None, condition, "test");
        deleted.await.unwrap();
        house.store.evict_renditions(i64::MAX, 0).await.unwrap();
        catalog.cached_bytes().await.unwrap()
    };
    assert!(delete("film.mp4").await > 0, "the copy still needs it");
    assert_eq!(delete("copy.mp4").await, 0);
    house.close().await;
}

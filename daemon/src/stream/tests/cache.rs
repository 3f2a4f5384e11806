//! The room of renditions is bounded: what nobody watches goes, what is watched stays, and what went is made again under the same address.

use bytes::Bytes;

use super::{House, entries, get, house, make, once, rung, small_rung, text};
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

    let catalog = house.store.catalog();
    empty(&house).await;
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

/// Lets everything go that nobody watches any more.
async fn empty(house: &House) {
    house.media.keep_budget(0).await.unwrap();
    // The note that it was watched is as old as the last request, so it may take a moment until nobody does.
    while house.store.catalog().cached_bytes().await.unwrap() > 0 {
        house.media.keep_budget(-1).await.unwrap();
    }
}

/// What is at an address once it is there; until then it says when to ask again.
async fn there(house: &House, url: &str) -> Bytes {
    let look = async || {
        let answer = reqwest::get(url).await.unwrap();
        if answer.status() == 200 {
            return Some(answer.bytes().await.unwrap());
        }
        assert_eq!(answer.status(), 503, "{url}");
        assert!(answer.headers().contains_key("retry-after"), "{url}");
        None
    };
    once(house, url, look).await
}

/// The address of the sound that was made, once the master playlist lists it.
async fn made_sound(house: &House, url: &str) -> String {
    let look = async || {
        let master = there(house, &format!("{url}/master.m3u8")).await;
        let master = String::from_utf8(master.to_vec()).unwrap();
        let mut quoted = master.split('"');
        let uri = quoted.find(|text| text.starts_with("audio-"));
        uri.map(str::to_owned)
    };
    once(house, "the sound", look).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_and_storyboard_that_gave_way_are_made_again() {
    let Some(house) = house(Vec::new()).await else {
        return;
    };
    let arguments = "-map 0 -map 1 -c:v libx264 -preset ultrafast -g 25 -c:a ac3";
    let bytes = make(house.dir.path(), "film.mkv", arguments).await;
    house.put("film.mkv", bytes).await;
    let url = house.link("film.mkv").await;
    let stream = made_sound(&house, &url).await;
    let playlist = text(&format!("{url}/{stream}")).await;
    let (init, segments) = entries(&playlist);
    let last = format!("{url}/{}", segments.last().unwrap().0);
    let sound = get(&last).await.1;
    let board = there(&house, &format!("{url}/storyboard.vtt")).await;
    let list = String::from_utf8(board.to_vec()).unwrap();
    let sheet = list.lines().find(|line| line.starts_with("storyboard-"));
    let sheet = format!("{url}/{}", sheet.unwrap().split('#').next().unwrap());
    let picture = get(&sheet).await.1;
    assert!(picture.starts_with(&[0xff, 0xd8]), "a JPEG");

    // Who has just asked is watching, a board's list no less than its sheets.
    there(&house, &format!("{url}/storyboard.vtt")).await;
    let watched = house.media.keep_budget(60_000).await.unwrap();
    assert_eq!(watched, Evicted::default());
    empty(&house).await;
    let (films, film) = ("films".parse().unwrap(), "film.mkv".parse().unwrap());
    let object = house.store.head(&films, &film, None).await.unwrap();
    let rows = house.store.catalog().renditions(object.content_id).await;
    let states = rows.unwrap();
    let states: Vec<_> = states.iter().map(|row| row.state().unwrap()).collect();
    assert_eq!(states, [RenditionState::Evicted; 2]);
    house.store.settle().await;
    assert_eq!(house.store.fsck(true).await.unwrap().findings.len(), 0);

    // Each address is valid: it says when to ask again, and is what it was.
    for address in [&last, &sheet] {
        let asked = reqwest::get(address).await.unwrap();
        assert_eq!(asked.status(), 503, "{address}");
    }
    for address in [&last, &format!("{url}/{init}"), &sheet] {
        there(&house, address).await;
    }
    assert_eq!(made_sound(&house, &url).await, stream);
    assert_eq!(text(&format!("{url}/{stream}")).await, playlist);
    assert_eq!(
        get(&last).await,
        (200, sound),
        "AAC is made the same way twice"
    );
    assert_eq!(there(&house, &format!("{url}/storyboard.vtt")).await, board);
    assert_eq!(get(&sheet).await, (200, picture));
    let beyond = get(&format!("{url}/storyboard-1.jpg")).await;
    assert_eq!(beyond.0, 404);
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

//! The shelf, where people stopped, and who watches.

use std::time::Duration;

use nebula_api::{
    Asset, AssetState, LibraryItem, Page, PlaybackMode, Position, PutPosition, Role, Stream, routes,
};
use nebula_tests::{Appliance, films, wait};
use reqwest::Method;

use super::{bucket, get_as, key, problem, put};

/// Of a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(120);
const FILM: &str = "Bars.Of.Colour.2019.720p.mp4";

/// What a successful read as root answers.
macro_rules! json {
    ($house:expr, $path:expr) => {{
        let answer = $house.get($path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", $path);
        answer.json().await.unwrap()
    }};
}

/// An appliance with one film under `name`, looked at.
async fn house(name: &str) -> Option<Appliance> {
    let film = films::mp4()?;
    let house = Appliance::start().await;
    bucket(&house, "films").await;
    put(&house, "films", name, &std::fs::read(film).unwrap()).await;
    wait::patiently(PATIENCE, "the film is looked at", async || {
        let asset: Asset = json!(&house, &routes::asset("films", name));
        asset.state == AssetState::Ready
    })
    .await;
    Some(house)
}

/// Another name for what lies under the first.
async fn copy(house: &Appliance, from: &str, to: &str) {
    let copy = house.s3().copy_object().bucket("films").key(to);
    let source = format!("films/{}", routes::encode_key(from));
    copy.copy_source(source).send().await.unwrap();
}

#[tokio::test]
async fn the_shelf_holds_films_and_series() {
    let Some(house) = house(FILM).await else {
        return;
    };
    for episode in [
        "Show/Season 2/S02E01.mp4",
        "Show/Season 1/02 - Two.mp4",
        "Show/Season 1/01 - One.mp4",
    ] {
        copy(&house, FILM, episode).await;
    }
    let shelf: Page<LibraryItem> = json!(&house, routes::LIBRARY);
    let [series, film] = shelf.items.as_slice() else {
        panic!("{shelf:?}");
    };
    assert_eq!(
        (series.title.as_str(), series.seasons, series.episodes),
        ("Show", Some(2), Some(3))
    );
    // The film's own tag is a better title than its file's name; the year is in the name alone.
    assert_eq!(
        (film.title.as_str(), film.asset.year),
        ("A film of bars", Some(2019))
    );
    assert_eq!(film.asset.tracks[0].range.as_deref(), Some("sdr"));

    let episodes: Page<LibraryItem> = json!(&house, &format!("{}?series=show", routes::LIBRARY));
    let told: Vec<_> = episodes
        .items
        .iter()
        .map(|item| {
            let episode = item.asset.episode.as_ref().unwrap();
            (item.title.as_str(), episode.season, episode.number)
        })
        .collect();
    assert_eq!(told, [("One", 1, 1), ("Two", 1, 2), ("Episode 1", 2, 1)]);

    let page: Page<LibraryItem> = json!(&house, &format!("{}?limit=1", routes::LIBRARY));
    let next = page.next.expect("there is a second page");
    let last: Page<LibraryItem> = json!(
        &house,
        &format!("{}?limit=1&cursor={next}", routes::LIBRARY)
    );
    assert_eq!((last.items.len(), last.next), (1, None));
    let found: Page<LibraryItem> = json!(&house, &format!("{}?search=colour", routes::LIBRARY));
    assert_eq!(found.items.len(), 1);

    bucket(&house, "other").await;
    let stranger = key(&house, "other", Role::Read).await;
    let page = super::json(get_as(&house, &stranger, routes::LIBRARY).await).await;
    assert_eq!(
        page["items"],
        serde_json::json!([]),
        "others see nothing of it"
    );
}

#[tokio::test]
async fn everybody_goes_on_where_they_stopped() {
    let Some(house) = house(FILM).await else {
        return;
    };
    let path = routes::position("films", FILM);
    let tell = async |path: &str, position_ms: u64| {
        let answer = house.request(Method::PUT, path);
        let answer = answer
            .json(&PutPosition { position_ms })
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.json::<Position>().await.unwrap()
    };
    let unwatched = house.get(&path).send().await.unwrap();
    assert_eq!(problem(unwatched).await.code, "position_not_found");

    let told = tell(&path, 2_000).await;
    assert!(!told.watched);
    let asset: Asset = json!(&house, &routes::asset("films", FILM));
    assert_eq!(asset.position_ms, Some(2_000));

    // The same content under another name goes on there, and the old name may go.
    copy(&house, FILM, "Renamed (2019).mp4").await;
    let delete = house.s3().delete_object().bucket("films").key(FILM);
    delete.send().await.unwrap();
    let unfinished = format!("{}?unfinished=true", routes::POSITIONS);
    let page: Page<Position> = json!(&house, &unfinished);
    assert_eq!(page.items.len(), 1);
    assert_eq!(page.items[0].key, "Renamed (2019).mp4");
    assert_eq!(page.items[0].position_ms, 2_000);

    // Somebody else's position is their own.
    let friend = key(&house, "films", Role::Read).await;
    let theirs = super::json(get_as(&house, &friend, routes::POSITIONS).await).await;
    assert_eq!(theirs["items"], serde_json::json!([]));

    // What is nearly over is watched, and a position behind the end is the end.
    let path = routes::position("films", "Renamed (2019).mp4");
    let told = tell(&path, u64::MAX).await;
    assert!(told.watched && told.position_ms == told.duration_ms);
    let page: Page<Position> = json!(&house, &unfinished);
    assert!(page.items.is_empty());
    let page: Page<Position> = json!(&house, routes::POSITIONS);
    assert_eq!(page.items.len(), 1);

    let delete = house.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(delete.status(), 204);
    let page: Page<Position> = json!(&house, routes::POSITIONS);
    assert!(page.items.is_empty());

    let nameless = reqwest::get(house.at(routes::POSITIONS)).await.unwrap();
    assert_eq!(nameless.status(), 401);
    put(&house, "films", "notes.txt", b"no film").await;
    let answer = house.request(Method::PUT, &routes::position("films", "notes.txt"));
    let answer = answer
        .json(&PutPosition { position_ms: 1 })
        .send()
        .await
        .unwrap();
    assert_eq!(problem(answer).await.code, "asset_not_found");
}

#[tokio::test]
async fn who_watches_is_listed_with_what_they_get_and_why() {
    let Some(house) = house(FILM).await else {
        return;
    };
    let none: Page<Stream> = json!(&house, routes::STREAMS);
    assert!(none.items.is_empty());
    let file = house.get(&routes::file("films", FILM));
    let file = file
        .header("user-agent", "a player/1")
        .header("range", "bytes=0-99");
    assert_eq!(file.send().await.unwrap().status(), 206);

    let master = routes::hls_master("films", FILM);
    let folder = master.strip_suffix("master.m3u8").unwrap();
    let text = house
        .get(&master)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let variant = text.lines().find(|line| line.starts_with('v')).unwrap();
    let playlist = house
        .get(&format!("{folder}{variant}"))
        .send()
        .await
        .unwrap();
    let playlist = playlist.text().await.unwrap();
    let last = playlist
        .lines()
        .rfind(|line| line.contains(".m4s"))
        .unwrap();
    let segment = house
        .get(&format!("{folder}{last}"))
        .header("user-agent", "another/2");
    assert_eq!(segment.send().await.unwrap().status(), 200);

    let page: Page<Stream> = json!(&house, routes::STREAMS);
    let of = |player: &str| {
        let mut found = page.items.iter();
        found
            .find(|one| one.player.as_deref() == Some(player))
            .unwrap()
    };
    assert_eq!(page.items.len(), 2);
    let direct = of("a player/1");
    assert_eq!(
        (direct.mode, direct.rendition.as_str()),
        (PlaybackMode::Direct, "file")
    );
    let remux = of("another/2");
    assert_eq!(
        (remux.mode, remux.rendition.as_str()),
        (PlaybackMode::Remux, "original")
    );
    assert!(remux.position_ms.unwrap() > 0, "{remux:?}");
    assert!(remux.reason.contains("mp4"), "{}", remux.reason);

    // Who may not read jobs sees nobody but themselves.
    let friend = key(&house, "films", Role::Read).await;
    get_as(&house, &friend, &routes::file("films", FILM)).await;
    let theirs: Page<Stream> =
        serde_json::from_value(super::json(get_as(&house, &friend, routes::STREAMS).await).await)
            .unwrap();
    assert_eq!(theirs.items.len(), 1);
    assert!(theirs.items[0].actor.contains(&friend.key.id));
}

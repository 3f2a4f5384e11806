//! What is made of an encrypted film lies encrypted beside it, and is made again where it is damaged.

use tokio_util::sync::CancellationToken;

use super::{entries, get, house, make, rung, small_rung, text};
use crate::kernel::BucketName;
use crate::store::{DefaultEncryption, ScrubOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_segment_of_an_encrypted_film_is_made_again() {
    let Some(house) = house(small_rung()).await else {
        return;
    };
    let bucket: BucketName = "films".parse().unwrap();
    let encrypts = Some(DefaultEncryption::default());
    let set = house.store.set_default_encryption(&bucket, encrypts);
    set.await.unwrap();
    let arguments = "-map 0 -c:v libx264 -preset ultrafast -g 25";
    let bytes = make(house.dir.path(), "film.mp4", arguments).await;
    house.put("film.mp4", bytes).await;
    let url = house.link("film.mp4").await;
    let stream = rung(&house, &url).await;
    let playlist = text(&format!("{url}/{stream}")).await;
    let first = format!("{url}/{}", entries(&playlist).1[0].0);
    let (status, played) = get(&first).await;
    assert_eq!(status, 200);

    let catalog = house.store.catalog();
    let key = "film.mp4".parse().unwrap();
    let object = house.store.head(&bucket, &key, None).await;
    let content = object.unwrap().content_id;
    let recipe = catalog.renditions(content).await.unwrap()[0].recipe.clone();
    let segments = catalog.rendition_segments(content, &recipe).await.unwrap();
    assert!(segments.iter().all(|row| row.is_encrypted));
    let blob = segments[0].blob().unwrap().to_string();
    let file = house.dir.path().join("blobs").join(&blob[30..]).join(blob);
    let mut stored = std::fs::read(&file).unwrap();
    assert!(!stored.windows(64).any(|window| window == &played[..64]));
    let index = catalog.asset_index(content).await.unwrap().unwrap();
    assert!(!index.starts_with(b"NBIX"), "the index lies sealed");
    let poster = catalog.asset_poster(content).await.unwrap().unwrap();
    let shown = house.media.poster(content).await.unwrap().unwrap();
    assert!(shown.starts_with(b"\xff\xd8") && !poster.starts_with(b"\xff\xd8"));

    stored[40] ^= 1;
    std::fs::write(&file, stored).unwrap();
    let options = ScrubOptions {
        every_ms: 0,
        bytes_per_s: 0,
    };
    let stop = CancellationToken::new();
    let state = house.store.scrub(options, true, &stop).await.unwrap();
    assert_eq!((state.damaged, state.healed), (0, 1), "{state:?}");
    assert_eq!(rung(&house, &url).await, stream, "it comes back by itself");
    assert_eq!(text(&format!("{url}/{stream}")).await, playlist);
    assert_eq!(get(&first).await.0, 200);
    assert_eq!(house.store.fsck(true).await.unwrap().findings, []);
    house.close().await;
}

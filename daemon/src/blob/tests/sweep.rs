use std::cell::RefCell;
use std::os::unix::fs::FileExt;

use super::super::{BlobError, Verdict};
use super::{count, keep, noise, open, put, room};
use crate::kernel::BlobId;

fn path(dir: &tempfile::TempDir, id: BlobId) -> std::path::PathBuf {
    let name = id.to_string();
    dir.path().join("blobs").join(&name[30..]).join(name)
}

#[tokio::test]
async fn only_what_is_neither_known_nor_held_is_an_orphan() {
    let (dir, blobs) = room().await;
    let known = keep(&blobs, b"known").await;
    let orphan = keep(&blobs, b"orphan").await;
    let held = put(&blobs, b"held", 4).await;
    let kept = put(&blobs, b"kept", 4).await.keep();
    let upload = blobs.create_open().await.unwrap();

    // The collector of another daemon on the same directory.
    let other = open(&dir).await;
    let ask = |ids: Vec<BlobId>| async move {
        Ok::<_, BlobError>(ids.into_iter().filter(|id| *id == known).collect())
    };
    assert_eq!(other.collect_orphans(ask).await.unwrap(), [orphan]);
    assert_eq!(count(&dir, &blobs), (4, 0));

    drop((kept, upload));
    assert_eq!(other.collect_orphans(ask).await.unwrap().len(), 2);
    drop(held);
    blobs.settle().await;
    assert!(other.collect_orphans(ask).await.unwrap().is_empty());
    assert_eq!(count(&dir, &blobs), (1, 0));
}

#[tokio::test]
async fn a_row_that_appears_in_the_last_moment_saves_its_file() {
    let (dir, blobs) = room().await;
    let late = keep(&blobs, b"late").await;
    let asked = RefCell::new(0);
    let ask = async |ids: Vec<BlobId>| -> Result<Vec<BlobId>, BlobError> {
        *asked.borrow_mut() += 1;
        Ok(if *asked.borrow() == 1 {
            Vec::new()
        } else {
            ids
        })
    };
    assert!(blobs.collect_orphans(ask).await.unwrap().is_empty());
    assert_eq!(*asked.borrow(), 2);
    assert_eq!(blobs.len(late).await.unwrap(), 4);
    assert_eq!(count(&dir, &blobs), (1, 0));
}

#[tokio::test]
async fn doubt_removes_nothing() {
    let (dir, blobs) = room().await;
    keep(&blobs, b"x").await;
    let broken =
        async |_: Vec<BlobId>| -> Result<Vec<BlobId>, BlobError> { Err(BlobError::NoInodes) };
    assert!(blobs.collect_orphans(broken).await.is_err());
    assert_eq!(count(&dir, &blobs), (1, 0));
}

#[tokio::test]
async fn a_start_clears_what_a_crash_left_and_nothing_that_is_held() {
    let (dir, blobs) = room().await;
    let tmp = dir.path().join("blobs/tmp");
    std::fs::write(tmp.join(BlobId::random().to_string()), b"left").unwrap();
    std::fs::write(tmp.join("README"), b"not ours").unwrap();
    let mut writer = blobs.create(None).await.unwrap();
    writer.write(noise(2_000_000).into()).await.unwrap();

    let _other = open(&dir).await;
    assert_eq!(count(&dir, &blobs), (0, 2));
    let sealed = writer.seal(true).await.unwrap();
    assert_eq!(sealed.size, 2_000_000);
}

#[tokio::test]
async fn damage_is_found_and_set_aside() {
    let (dir, blobs) = room().await;
    let sealed = put(&blobs, &noise(3_500_000), 100_000).await;
    let (size, sums) = (sealed.size, sealed.digest.sums.clone());
    let id = sealed.keep().id();
    assert_eq!(blobs.verify(id, size, &sums).await.unwrap(), Verdict::Whole);
    assert_eq!(
        blobs.verify(id, size + 1, &sums).await.unwrap(),
        Verdict::WrongSize { size }
    );

    let file = std::fs::File::options()
        .write(true)
        .open(path(&dir, id))
        .unwrap();
    for at in [1 << 20, 3_400_000] {
        file.write_all_at(b"rot", at).unwrap();
    }
    let damaged = Verdict::Damaged { blocks: vec![1, 3] };
    assert_eq!(blobs.verify(id, size, &sums).await.unwrap(), damaged);

    blobs.quarantine(id, &[1, 3]).await.unwrap();
    assert_eq!(blobs.verify(id, size, &sums).await.unwrap(), damaged);
    assert!(
        dir.path()
            .join("blobs/quarantine")
            .join(id.to_string())
            .exists()
    );
    blobs.remove(id).await.unwrap();
    let quarantine = dir.path().join("blobs/quarantine");
    assert_eq!(std::fs::read_dir(quarantine).unwrap().count(), 0);
    assert_eq!(
        blobs.verify(id, size, &sums).await.unwrap(),
        Verdict::Missing
    );
}

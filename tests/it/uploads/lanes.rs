//! Lanes: uploads of one object, side by side, into one file.

use nebula_tests::{Appliance, Seed, wait, within};
use reqwest::Response;

use super::{
    LIMIT, MIB, Slow, append, content, house, location, metadata, of, offset, received, send,
};

const NAME: &str = "a-name-of-the-client-0";

async fn lane(appliance: &Appliance, start: usize, length: usize, total: usize) -> Response {
    lane_of(appliance, NAME, "whole.bin", start, length, total).await
}

async fn lane_of(
    appliance: &Appliance,
    of: &str,
    key: &str,
    start: usize,
    length: usize,
    total: usize,
) -> Response {
    let (start, length, total) = (start.to_string(), length.to_string(), total.to_string());
    let names = metadata(&[
        ("bucket", "films"),
        ("filename", key),
        ("lane-of", of),
        ("lane-start", &start),
        ("lane-total", &total),
    ]);
    let headers = [
        ("Upload-Concat", "partial"),
        ("Upload-Length", &*length),
        ("Upload-Metadata", &*names),
    ];
    send(appliance, "POST", "/-/tus/", &headers, "").await
}

async fn join(appliance: &Appliance, lanes: &[&str]) -> Response {
    let list = format!("final;{}", lanes.join(" "));
    let names = metadata(&[("bucket", "films"), ("filename", "whole.bin")]);
    let headers = [("Upload-Concat", &*list), ("Upload-Metadata", &*names)];
    send(appliance, "POST", "/-/tus/", &headers, "").await
}

/// The files of the data directory that hold more than a note, by size.
fn files(appliance: &Appliance) -> Vec<u64> {
    fn walk(folder: &std::path::Path, sizes: &mut Vec<u64>) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            match entry.metadata() {
                Ok(what) if what.is_dir() => walk(&entry.path(), sizes),
                Ok(what) if what.len() > 4096 => sizes.push(what.len()),
                _ => {}
            }
        }
    }
    let mut sizes = Vec::new();
    walk(&appliance.data_dir().join("blobs"), &mut sizes);
    sizes
}

/// Bytes that the daemon gave to the kernel so far.
fn written(appliance: &Appliance) -> u64 {
    let path = format!("/proc/{}/io", appliance.pid().as_raw_nonzero());
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find(|line| line.starts_with("wchar")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn lanes_fill_one_file_and_its_hash_follows_from_theirs() {
    within(LIMIT, async {
        let mut appliance = house("").await;
        let bytes = Seed::new("lanes").bytes(32 * MIB + 77);
        let starts = [0, 9 * MIB, 10 * MIB, 24 * MIB];
        let ends = [9 * MIB, 10 * MIB, 24 * MIB, bytes.len()];
        let before = written(&appliance);
        let mut paths = Vec::new();
        for (start, end) in starts.into_iter().zip(ends) {
            let answer = lane(&appliance, start, end - start, bytes.len()).await;
            paths.push(location(&answer));
        }
        let again = lane(&appliance, 9 * MIB, MIB, bytes.len()).await;
        assert_eq!(location(&again), paths[1], "the same lane, found again");
        // The tail first, the others beside each other; one of them in two requests.
        let tail = append(&appliance, &paths[3], 0, false, bytes[24 * MIB..].to_vec());
        assert_eq!(tail.await.status(), 204);
        let sent = futures::future::join_all((0..3).map(|n| {
            let (start, end) = (starts[n], ends[n]);
            let (appliance, path, bytes) = (&appliance, &paths[n], &bytes);
            async move {
                let middle = start + (end - start) / 2 + 5;
                let first = append(appliance, path, 0, false, bytes[start..middle].to_vec()).await;
                assert_eq!(first.status(), 204);
                let rest = bytes[middle..end].to_vec();
                append(appliance, path, middle - start, false, rest).await
            }
        }));
        for answer in sent.await {
            assert_eq!(answer.status(), 204);
        }
        assert_eq!(content(&appliance, "whole.bin").await, None);
        let lanes: Vec<&str> = paths.iter().map(String::as_str).collect();
        let began = std::time::Instant::now();
        let whole = location(&join(&appliance, &lanes).await);
        let joined = began.elapsed();
        assert_eq!(location(&join(&appliance, &lanes).await), whole);
        let wrote = written(&appliance) - before;
        let size = bytes.len() as u64;
        assert!(
            wrote <= size + size / 100 + MIB as u64,
            "{wrote} bytes written for {size}"
        );
        assert!(joined.as_millis() < 1000, "joined in {joined:?}");
        assert_eq!(files(&appliance), [size], "one file and nothing beside it");
        let object = appliance.client().object("films", "whole.bin", None).await;
        let object = object.unwrap().expect("published");
        let hash = blake3::hash(&bytes).to_hex().to_string();
        assert_eq!(object.blake3, Some(hash));
        assert!(content(&appliance, "whole.bin").await == Some(bytes));
        // The lanes may go, the object has its own hold on the file.
        for path in &paths {
            let gone = send(&appliance, "DELETE", path, &[], "").await;
            assert_eq!(gone.status(), 204);
        }
        assert_eq!(files(&appliance), [size]);
        assert!(appliance.stop().await.success());
        appliance.fsck(true).await;
    })
    .await;
}

#[tokio::test]
async fn a_lane_keeps_every_byte_over_a_kill_and_may_be_joined_before_it_is_whole() {
    within(LIMIT, async {
        let mut appliance = house("").await;
        let bytes = Seed::new("killed").bytes(5 * MIB + 9);
        let total = bytes.len();
        let first = location(&lane(&appliance, 0, 2 * MIB, total).await);
        let second = location(&lane(&appliance, 2 * MIB, total - 2 * MIB, total).await);
        let whole = location(&join(&appliance, &[&first, &second]).await);
        let arrived = 2 * MIB + 321;
        let mut slow = Slow::append(&appliance, &second, 0);
        slow.send(&bytes[2 * MIB..2 * MIB + arrived]).await;
        wait::until_async("the bytes are in the file", async || {
            received(&appliance, &second).await == arrived
        })
        .await;
        appliance.kill();
        let _cut = slow.answer.await;
        appliance.restart().await;
        assert_eq!(offset(&appliance, &second).await, arrived);
        assert_eq!(offset(&appliance, &first).await, 0);
        let sent = append(&appliance, &first, 0, false, bytes[..2 * MIB].to_vec()).await;
        assert_eq!(sent.status(), 204);
        assert_eq!(content(&appliance, "whole.bin").await, None);
        let rest = bytes[2 * MIB + arrived..].to_vec();
        let sent = append(&appliance, &second, arrived, false, rest).await;
        assert_eq!(sent.status(), 204);
        assert_eq!(offset(&appliance, &whole).await, total);
        let object = appliance.client().object("films", "whole.bin", None).await;
        let hash = blake3::hash(&bytes).to_hex().to_string();
        assert_eq!(object.unwrap().unwrap().blake3, Some(hash));
        assert!(content(&appliance, "whole.bin").await == Some(bytes));
        assert!(appliance.stop().await.success());
        appliance.fsck(true).await;
    })
    .await;
}

#[tokio::test]
async fn lanes_that_do_not_fit_together_are_refused_and_leave_nothing() {
    within(LIMIT, async {
        let mut appliance = house("").await;
        let total = 4 * MIB;
        let a = location(&lane(&appliance, 0, 2 * MIB, total).await);
        for (start, length, total) in [
            (MIB, MIB, total),
            (0, 3 * MIB, total),
            (3 * MIB, MIB, total + 1),
            (2 * MIB + 1, MIB, total),
            (3 * MIB, MIB + 1, total),
        ] {
            let refused = lane(&appliance, start, length, total).await;
            assert_eq!(refused.status(), 409, "{start} {length} {total}");
        }
        let other = lane_of(&appliance, NAME, "other.bin", 2 * MIB, MIB, total).await;
        assert_eq!(other.status(), 409);
        let half = metadata(&[("bucket", "films"), ("filename", "x"), ("lane-of", NAME)]);
        let headers = [
            ("Upload-Concat", "partial"),
            ("Upload-Length", "5"),
            ("Upload-Metadata", &*half),
        ];
        let refused = send(&appliance, "POST", "/-/tus/", &headers, "").await;
        assert_eq!(refused.status(), 400);

        let b = location(&lane(&appliance, 2 * MIB, 2 * MIB, total).await);
        for order in [&[&*a][..], &[&*b], &[&*b, &*a], &[&*a, &*b, &*b]] {
            assert_eq!(join(&appliance, order).await.status(), 409, "{order:?}");
        }
        assert_eq!(
            of(&lane(&appliance, 0, 2 * MIB, total).await, "upload-offset"),
            "0"
        );
        for path in [&a, &b] {
            assert_eq!(
                send(&appliance, "DELETE", path, &[], "").await.status(),
                204
            );
        }
        assert!(files(&appliance).is_empty());
        // The name is free again.
        location(&lane(&appliance, 0, 3 * MIB, 3 * MIB).await);
        assert!(appliance.stop().await.success());
        appliance.fsck(true).await;
    })
    .await;
}

/// A partial upload of a client that knows nothing of lanes.
async fn foreign(appliance: &Appliance, bytes: &[u8]) -> String {
    let length = bytes.len().to_string();
    let headers = [("Upload-Concat", "partial"), ("Upload-Length", &*length)];
    let path = location(&send(appliance, "POST", "/-/tus/", &headers, "").await);
    let sent = append(appliance, &path, 0, false, bytes.to_vec()).await;
    assert_eq!(sent.status(), 204);
    path
}

#[tokio::test]
async fn bytes_that_were_joined_are_the_objects_alone() {
    within(LIMIT, async {
        let mut appliance = house("").await;
        let bytes = Seed::new("taken").bytes(MIB);
        let (a, b) = bytes.split_at(MIB / 2);
        let (a, b) = (foreign(&appliance, a).await, foreign(&appliance, b).await);
        let starts = [0, MIB].map(async |start| {
            let path = location(&lane(&appliance, start, MIB, 2 * MIB).await);
            let sent = append(&appliance, &path, 0, false, bytes.clone()).await;
            assert_eq!(sent.status(), 204);
            path
        });
        let [c, d] = futures::future::join_all(starts).await.try_into().unwrap();
        for (parts, twice, left) in [([&*a, &*b], [&*b, &*a], 1), ([&*c, &*d], [&*d, &*c], 0)] {
            location(&join(&appliance, &parts).await);
            // As long as an object has them, others can be made of them.
            location(&join(&appliance, &twice).await);
            let path = "/-/api/v1/buckets/films/objects/whole.bin";
            let deleted = send(&appliance, "DELETE", path, &[], "").await;
            assert!(deleted.status().is_success(), "{deleted:?}");
            // They go with it, and not only when the uploads expire.
            wait::until_async("the files are gone", async || {
                files(&appliance).len() == left
            })
            .await;
            let whole = if left == 1 { MIB / 2 } else { MIB };
            assert_eq!(offset(&appliance, parts[0]).await, whole);
            assert_eq!(join(&appliance, &[parts[0]]).await.status(), 404);
        }
        // The name of the lanes is free again.
        location(&lane(&appliance, 0, 3 * MIB, 3 * MIB).await);
        assert!(appliance.stop().await.success());
        appliance.fsck(true).await;
    })
    .await;
}

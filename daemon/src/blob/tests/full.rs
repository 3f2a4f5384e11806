use std::process::Command;

use tempfile::TempDir;

use super::super::{BlobError, BlobOptions, Blobs, DiskOptions};
use super::{get, keep, noise};

/// A file system of 16 MiB that nobody else uses; gone with the value.
struct Small {
    dir: TempDir,
}

impl Small {
    /// `None`, said loudly, where this process may not mount.
    fn mount() -> Option<Self> {
        Self::mount_with("size=16m")
    }

    fn mount_with(options: &str) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "nebula-test"])
            .arg(dir.path())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self { dir });
        }
        println!("SKIPPED: a full disk needs the right to mount a tmpfs (run as root)");
        None
    }

    fn read_only(&self) {
        self.remount("ro");
    }

    fn remount(&self, how: &str) {
        let path = self.dir.path();
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{how}")])
            .arg(path)
            .status();
        assert!(status.unwrap().success());
    }

    async fn open(&self, reserve_bytes: u64) -> Blobs {
        let dir = self.dir.path().join("blobs");
        Blobs::open(BlobOptions { dir, reserve_bytes })
            .await
            .unwrap()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _best_effort = Command::new("umount")
            .arg("-l")
            .arg(self.dir.path())
            .status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let Some(small) = Small::mount() else { return };
    let blobs = small.open(2 << 20).await;
    assert!(matches!(blobs.admit(20 << 20), Err(BlobError::Full { .. })));
    assert!(matches!(
        blobs.create(Some(15 << 20)).await,
        Err(BlobError::Full { .. })
    ));
    blobs.admit(1 << 20).unwrap();

    let old = noise(4 << 20);
    let id = keep(&blobs, &old).await;
    let piece = bytes::Bytes::from(noise(1 << 20));
    let mut writer = blobs.create(None).await.unwrap();
    let failure = loop {
        if let Err(error) = writer.write(piece.clone()).await {
            break error;
        }
    };
    assert!(matches!(failure, BlobError::Full { .. }), "{failure}");
    assert!(
        blobs.space().unwrap().free >= 1 << 20,
        "the reserve is kept"
    );
    drop(writer);
    blobs.settle().await;
    assert_eq!(get(&blobs, id, old.len()).await, old);

    let eager = small.open(0).await;
    let upload = eager.create_open().await.unwrap().id();
    let mut appender = eager.append(upload, 0, &[]).await.unwrap();
    assert!(matches!(
        appender.reserve(14 << 20).await,
        Err(BlobError::Full { .. })
    ));
    let failure = loop {
        if let Err(error) = appender.write(piece.clone()).await {
            break error;
        }
    };
    assert!(matches!(failure, BlobError::Full { .. }), "{failure}");
    drop(appender);
    let received = eager.len(upload).await.unwrap();
    assert!(received >= 8 << 20, "{received}");

    // By the handle that has it open: space comes back only when nobody reads any more.
    blobs.remove(id).await.unwrap();
    let mut appender = eager.append(upload, received, &[]).await.unwrap();
    appender.write(piece).await.unwrap();
    assert_eq!(appender.finish().await.unwrap().size, received + (1 << 20));
}

#[tokio::test]
async fn a_read_only_disk_says_so() {
    let Some(small) = Small::mount() else { return };
    let blobs = small.open(0).await;
    let bytes = noise(100_000);
    let id = keep(&blobs, &bytes).await;
    small.read_only();
    let mut writer = blobs.create(None).await.unwrap();
    writer.write(bytes.clone().into()).await.unwrap();
    let failure = writer.seal(true).await.unwrap_err();
    assert!(matches!(failure, BlobError::ReadOnly { .. }), "{failure}");
    assert!(matches!(
        blobs.create_open().await,
        Err(BlobError::ReadOnly { .. })
    ));
    assert!(matches!(
        blobs.remove(id).await,
        Err(BlobError::ReadOnly { .. })
    ));
    assert_eq!(get(&blobs, id, bytes.len()).await, bytes);
    assert!(matches!(blobs.probe(), Err(BlobError::ReadOnly { .. })));

    // Mounted writable again, everything works at once.
    small.remount("rw");
    blobs.probe().unwrap();
    blobs.remove(id).await.unwrap();
    let id = keep(&blobs, &bytes).await;
    assert_eq!(get(&blobs, id, bytes.len()).await, bytes);
}

#[tokio::test]
async fn without_inodes_it_says_so_and_removal_helps() {
    // The 256 directories and a few files.
    let Some(small) = Small::mount_with("size=16m,nr_inodes=280") else {
        return;
    };
    let blobs = small.open(0).await;
    let mut kept = Vec::new();
    let failure = loop {
        assert!(kept.len() < 280, "it never runs out");
        let mut writer = blobs.create(Some(1)).await.unwrap();
        writer.write(noise(1).into()).await.unwrap();
        match writer.seal(true).await {
            Ok(sealed) => kept.push(sealed.keep().id()),
            Err(error) => break error,
        }
    };
    assert!(matches!(failure, BlobError::NoInodes), "{failure}");
    assert!(matches!(
        blobs.create_open().await,
        Err(BlobError::NoInodes)
    ));
    blobs.remove(kept.pop().unwrap()).await.unwrap();
    keep(&blobs, b"fits again").await;
}

#[tokio::test]
async fn a_disk_that_is_read_only_gets_nothing_new() {
    let Some(small) = Small::mount() else { return };
    let dir = TempDir::new().unwrap();
    let options = BlobOptions {
        dir: dir.path().join("blobs"),
        reserve_bytes: 0,
    };
    let disk = DiskOptions {
        name: "small".into(),
        path: small.dir.path().to_owned(),
        reserve_bytes: 0,
    };
    let blobs = Blobs::open(options).await.unwrap().with_disks(vec![disk]);
    assert!(blobs.look_at_disk("small", "an-id", true).await.unwrap());
    blobs.set_draining("main", true);
    let bytes = noise(100_000);
    let id = keep(&blobs, &bytes).await;
    blobs.set_draining("main", false);
    small.read_only();
    assert_eq!(get(&blobs, id, bytes.len()).await, bytes);
    assert!(matches!(
        blobs.remove(id).await,
        Err(BlobError::ReadOnly { .. })
    ));
    for _ in 0..3 {
        let id = keep(&blobs, &bytes).await;
        let name = id.to_string();
        let file = dir.path().join("blobs").join(&name[30..]).join(name);
        assert!(file.exists());
    }
    small.remount("rw");
    blobs.remove(id).await.unwrap();
}

#[tokio::test]
async fn a_disk_that_is_gone_says_so() {
    let dir = TempDir::new().unwrap();
    let options = BlobOptions {
        dir: dir.path().join("blobs"),
        reserve_bytes: 0,
    };
    let blobs = Blobs::open(options).await.unwrap();
    let mut writer = blobs.create(None).await.unwrap();
    writer.write(noise(10).into()).await.unwrap();
    drop(dir);
    assert!(matches!(
        writer.seal(true).await,
        Err(BlobError::Unavailable { .. })
    ));
    assert!(matches!(
        blobs.create(None).await,
        Err(BlobError::Unavailable { .. })
    ));
}

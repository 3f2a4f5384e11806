//! A node, a network to it and a file: what tests of transfers begin with.

use crate::{
    network::{Network, Way},
    node::{KEY, Node},
};
use futures::future::BoxFuture;
use nebula_client::{
    Client, Credentials, Error,
    backoff::Clock,
    download,
    transfer::{Step, Unwatched},
    upload::{self, Options, StateDir},
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// By its clock so much more time passes.
const HASTE: u32 = 1000;

/// A clock by which a quarter of an hour is a second.
#[derive(Debug, Clone)]
pub struct Hasty(Instant);

impl Hasty {
    pub fn new() -> Self {
        Self(Instant::now())
    }

    pub fn passed(&self) -> Duration {
        self.0.elapsed() * HASTE
    }
}

impl Clock for Hasty {
    fn now(&self) -> Instant {
        self.0 + self.passed()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time / HASTE))
    }
}

pub struct Stage {
    pub node: Node,
    pub network: Network,
    pub client: Client,
    pub dir: tempfile::TempDir,
}

impl Stage {
    pub async fn set() -> Self {
        let (node, address) = Node::start().await;
        let network = Network::to(address).await;
        let credentials = Credentials {
            access_key: KEY.0.into(),
            secret_key: KEY.1.into(),
        };
        let client = Client::new(&network.url(), Some(credentials)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        Self {
            node,
            network,
            client,
            dir,
        }
    }

    pub fn file(&self, bytes: usize) -> (PathBuf, Vec<u8>) {
        let content: Vec<u8> = (0..bytes).map(|i| (i * 31 + i / 997) as u8).collect();
        let path = self.dir.path().join("film.mp4");
        fs::write(&path, &content).unwrap();
        (path, content)
    }

    pub fn options(&self) -> Options {
        Options {
            lanes: 8,
            patch_bytes: 1 << 20,
            patience: Duration::from_secs(20).into(),
            state: Some(StateDir::at(self.dir.path().join("state"))),
            ..Options::default()
        }
    }

    pub fn states(&self) -> usize {
        fs::read_dir(self.dir.path().join("state")).map_or(0, Iterator::count)
    }

    /// Drops a push once so much of it is there.
    pub async fn push_until(&self, path: &Path, bytes: u64) {
        let options = self.options();
        let push = upload::push(
            &self.client,
            path,
            "films",
            "film.mp4",
            &options,
            &Unwatched,
        );
        tokio::pin!(push);
        // What was sent may still be lost on its way when the connection ends: the node says what it has.
        while self.node.with(|n| n.received_bytes) < bytes {
            tokio::select! {
                biased;
                done = &mut push => panic!("too fast: {done:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
    }

    /// Drops a pull once so much of it is here.
    pub async fn pull_until(&self, to: &Path, bytes: u64) {
        self.network
            .cut_after(Way::FromNode, &[usize::try_from(bytes).unwrap()]);
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let watch = move |step: Step| {
            if matches!(step, Step::Waiting { .. }) {
                let _ = tell.send(());
            }
        };
        let pull = download::pull(&self.client, "films", "film.mp4", None, to, &watch);
        tokio::select! {
            biased;
            _ = told.recv() => {}
            done = pull => panic!("too fast: {done:?}"),
        }
    }

    pub async fn push(&self, path: &Path) -> Result<upload::Pushed, Error> {
        upload::push(
            &self.client,
            path,
            "films",
            "film.mp4",
            &self.options(),
            &Unwatched,
        )
        .await
    }
}

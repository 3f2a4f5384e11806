//! Checkpoints of SQLite beside the writing: what the log holds goes into the database file while further changes commit.
//!
//! Left alone, SQLite does it inside the commit that fills the log, and everyone behind that commit waits while some
//! sixteen megabytes are written and synced. A connection of its own does most of that beside the commits.
//! It cannot reach the end of a log that grows, and only a log that was copied to its end begins anew: so the writing
//! connection copies the little that is left between two commits, when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::db::CatalogError;

/// Changes between two checkpoints: some thousand pages.
const CHANGES: usize = 1024;
/// Pages that the writing connection copies itself.
const REST_PAGES: i64 = 512;
/// Rounds that hunt a log which grows; then the rest is left to the writing connection, however much it is.
const ROUNDS_MAX: usize = 4;
/// Copies what no reader is in the way of, and waits for nobody. The answer: whether it was kept from it, the pages in
/// the log, and how many of them are copied.
pub(super) const CHECKPOINT: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// The handle of the writing task.
pub(super) struct Checkpoints {
    ask: mpsc::Sender<()>,
    /// Little is left.
    is_near: Arc<AtomicBool>,
    changes: usize,
    task: JoinHandle<()>,
}

impl Checkpoints {
    pub(super) async fn start(options: &SqliteConnectOptions) -> Result<Self, CatalogError> {
        let connection = SqliteConnection::connect_with(options).await?;
        let (ask, asked) = mpsc::channel(1);
        let is_near = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(run(
            connection,
            options.clone(),
            asked,
            Arc::clone(&is_near),
        ));
        Ok(Self {
            ask,
            is_near,
            changes: 0,
            task,
        })
    }

    /// Counts what a commit held; whether the writing connection shall copy the rest now.
    pub(super) fn committed(&mut self, changes: usize) -> bool {
        self.changes += changes;
        // A full place means that a checkpoint is due anyway.
        if self.changes >= CHANGES && self.ask.try_send(()).is_ok() {
            self.changes = 0;
        }
        self.is_near.swap(false, Ordering::AcqRel)
    }

    /// Returns when its connection is closed.
    pub(super) async fn close(self) {
        drop(self.ask);
        // It ends with its sender; an error means that it ended before.
        let _ = self.task.await;
    }
}

async fn run(
    mut connection: SqliteConnection,
    options: SqliteConnectOptions,
    mut asked: mpsc::Receiver<()>,
    is_near: Arc<AtomicBool>,
) {
    while asked.recv().await.is_some() {
        match hunt(&mut connection).await {
            Ok(()) => is_near.store(true, Ordering::Release),
            // The writing connection meets the same trouble and tells of it; SQLite's own limit stands behind this.
            Err(error) => {
                tracing::debug!(%error, "a checkpoint was put off: {error}");
                if let Ok(fresh) = SqliteConnection::connect_with(&options).await {
                    let old = std::mem::replace(&mut connection, fresh);
                    let _ = old.close().await;
                }
            }
        }
    }
    let _ = connection.close().await;
}

/// Copies until what came meanwhile is little.
async fn hunt(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mut copied_before = 0;
    for _ in 0..ROUNDS_MAX {
        let (_, _, copied): (i64, i64, i64) = sqlx::query_as(CHECKPOINT)
            .fetch_one(&mut *connection)
            .await?;
        if copied - copied_before < REST_PAGES {
            break;
        }
        copied_before = copied;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use futures::future::join_all;

    use crate::catalog::{Catalog, Options};

    /// Side by side, as requests are.
    const CALLERS: u32 = 256;
    /// Well before a commit copies the log itself.
    const LOG_BYTES: u64 = 12_000 * 4096;

    /// How often the log began anew, and its length (<https://sqlite.org/fileformat2.html>, 4.1).
    fn log(path: &Path) -> (u32, u64) {
        let bytes = std::fs::read(path).unwrap_or_default();
        let number = bytes.get(12..16).and_then(|number| number.try_into().ok());
        (number.map_or(0, u32::from_be_bytes), bytes.len() as u64)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_log_begins_anew_while_changes_go_on() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("catalog.sqlite");
        let catalog = Catalog::open(&Options::Sqlite(file.clone()))
            .await
            .expect("a catalog");
        let wal = file.with_extension("sqlite-wal");
        let begun = log(&wal).0;
        let mut written = 0;
        while log(&wal).0 == begun {
            assert!(log(&wal).1 < LOG_BYTES, "the log only grows");
            let changes = (written..written + CALLERS).map(|number| {
                catalog.write(move |tx| {
                    Box::pin(async move { tx.put_setting(&number.to_string(), &[7; 8192]).await })
                })
            });
            for change in join_all(changes).await {
                let _: () = change.expect("a change");
            }
            written += CALLERS;
        }
        catalog.close().await;
        assert!(!wal.exists(), "every connection was closed");
    }
}

//! What workers say of their attempts, and how the rows are told.

use redis::streams::StreamId;

use crate::catalog::{Catalog, Failure, JobRow, LeaseTerms};
use crate::kernel::{JobId, Millis};
use crate::queue::{QueueError, count_outcome, retry_delay_ms};

/// A running row in Redis mode is kept alive by its hash; should the daemon go back to the embedded queue, it is taken over after this time.
pub(super) const ROW_LEASE_MS: Millis = 60_000;

/// What happened to an attempt.
#[derive(Debug, PartialEq)]
enum What {
    Started,
    Done(serde_json::Value),
    Failed { reason: String, retryable: bool },
    Released,
}

/// One entry of the report stream.
#[derive(Debug, PartialEq)]
pub(super) struct Report {
    pub(super) job: JobId,
    /// Of the hand-out.
    pub(super) token: String,
    attempt: u32,
    worker: String,
    what: What,
}

impl Report {
    /// Reads an entry; `None` for one that this version does not understand.
    pub(super) fn read(entry: &StreamId) -> Option<Self> {
        let text = |name: &str| entry.get::<String>(name);
        let body = text("body")?;
        let what = match text("what")?.as_str() {
            "started" => What::Started,
            "done" => What::Done(serde_json::from_str(&body).ok()?),
            "failed" => What::Failed {
                reason: body,
                retryable: text("retryable")? == "1",
            },
            "released" => What::Released,
            _ => return None,
        };
        Some(Self {
            job: text("job")?.parse().ok()?,
            token: text("token")?,
            attempt: text("attempt")?.parse().ok()?,
            worker: text("worker")?,
            what,
        })
    }

    /// Whether the hand-out is over.
    pub(super) fn is_last(&self) -> bool {
        self.what != What::Started
    }

    /// Applies it to the row; applied twice, or after the job was handed out anew, it changes nothing.
    pub(super) async fn apply(self, catalog: &Catalog, now_ms: Millis) -> Result<(), QueueError> {
        let counts = self.is_last() && self.what != What::Released;
        let row: Option<JobRow> = catalog
            .write(move |tx| {
                Box::pin(async move {
                    match self.what {
                        What::Started => {
                            let terms = LeaseTerms {
                                holder: self.worker,
                                token: self.token,
                                now_ms,
                                until_ms: now_ms + ROW_LEASE_MS,
                            };
                            tx.start_job(self.job, i64::from(self.attempt), &terms)
                                .await
                        }
                        What::Done(result) => {
                            tx.complete_job(self.job, &self.token, &result, now_ms)
                                .await
                        }
                        What::Failed { reason, retryable } => {
                            let failure = Failure {
                                reason,
                                retryable,
                                retry_at_ms: now_ms + retry_delay_ms(self.job, self.attempt),
                            };
                            tx.fail_job(self.job, &self.token, &failure, now_ms).await
                        }
                        What::Released => tx.release_job(self.job, &self.token, now_ms).await,
                    }
                })
            })
            .await?;
        if counts {
            count_outcome(row);
        }
        Ok(())
    }
}

//! Planning again what follows from objects that came without it: after a restore.

use super::object::Object;
use super::{Store, StoreError};

/// Rows read, and planned for in one transaction.
const PAGE: i64 = 200;

impl Store {
    /// Queues the jobs that would follow if every object were published now; one that waits already is not queued twice.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn replan(&self) -> Result<u64, StoreError> {
        let mut after = 0;
        let mut queued = 0;
        loop {
            let rows = self.0.catalog.object_rows_after(after, PAGE).await?;
            let Some(last) = rows.last() else {
                return Ok(queued);
            };
            after = last.id;
            let mut jobs = Vec::new();
            for row in rows.into_iter().filter(|row| !row.is_delete_marker) {
                jobs.extend((self.0.planner)(&Object::from_row(row)?));
            }
            queued += jobs.len() as u64;
            if jobs.is_empty() {
                continue;
            }
            self.0
                .catalog
                .write(move |tx| {
                    Box::pin(async move {
                        for job in &jobs {
                            tx.insert_job(job).await?;
                        }
                        Ok::<_, StoreError>(())
                    })
                })
                .await?;
        }
    }
}

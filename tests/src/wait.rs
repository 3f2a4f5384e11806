//! Waiting for what another process does: asked again and again, never slept through.

use std::time::{Duration, Instant};

/// After so long the thing will not come.
const LIMIT: Duration = Duration::from_secs(30);
/// Between two questions.
const STEP: Duration = Duration::from_millis(5);

/// Returns as soon as `ready` says yes.
///
/// # Panics
/// When that takes longer than thirty seconds; the message names `what`.
pub fn until(what: &str, mut ready: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < LIMIT, "waited too long until {what}");
        std::thread::sleep(STEP);
    }
}

/// The same for a question that is asked asynchronously.
///
/// # Panics
/// When that takes longer than thirty seconds; the message names `what`.
pub async fn until_async(what: &str, ready: impl AsyncFnMut() -> bool) {
    patiently(LIMIT, what, ready).await;
}

/// The same for what may take longer, as films do.
///
/// # Panics
/// When that takes longer than `limit`; the message names `what`.
pub async fn patiently(limit: Duration, what: &str, mut ready: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !ready().await {
        assert!(start.elapsed() < limit, "waited too long until {what}");
        tokio::time::sleep(STEP).await;
    }
}

//! A watchdog: a test that hangs is a test that failed, and it cleans up behind itself.

use std::time::Duration;

/// Runs a test for at most `limit`.
///
/// # Panics
/// When it takes longer; what it holds is dropped first.
pub async fn within<T>(limit: Duration, test: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, test).await {
        Ok(done) => done,
        Err(_) => panic!("the test was not done after {limit:?}"),
    }
}

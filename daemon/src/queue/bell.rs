//! The bell: wakes the workers of this process when a job was inserted.

use std::sync::Arc;

use tokio::sync::Notify;

/// Rung by whoever commits a new job; cheap to clone.
///
/// It only saves time: a worker that misses it looks again by itself.
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<Notify>);

impl Bell {
    /// A bell nobody listens to yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes all who wait; when nobody does, the next to wait returns at once.
    pub fn ring(&self) {
        self.0.notify_waiters();
        self.0.notify_one();
    }

    /// Returns when the bell rings.
    pub async fn heard(&self) {
        self.0.notified().await;
    }
}

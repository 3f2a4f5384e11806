//! Connections to Redis that come back by themselves.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::streams::StreamReadReply;
use redis::{Client, FromRedisValue, ScriptInvocation};
use tokio::sync::Mutex;

use crate::queue::{Bell, QueueError};

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Attempts to connect before a call fails; the next call tries again.
const CONNECT_RETRIES: usize = 1;
/// How long a blocking read lasts: also how soon a lease that ran out elsewhere is noticed.
const BLOCK: Duration = Duration::from_secs(1);
/// Pause after a blocking read that failed.
const RETRY: Duration = Duration::from_millis(500);

fn manager(url: &str, answer: Duration) -> Result<ConnectionManager, QueueError> {
    let client = Client::open(url)?;
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(answer))
        .set_number_of_retries(CONNECT_RETRIES)
        .set_max_delay(RETRY);
    Ok(ConnectionManager::new_lazy_with_config(client, config)?)
}

/// A connection for calls that answer at once; cheap to clone.
#[derive(Clone)]
pub(super) struct Link(ConnectionManager);

impl Link {
    pub(super) fn open(url: &str) -> Result<Self, QueueError> {
        manager(url, ANSWER_TIMEOUT).map(Self)
    }

    pub(super) async fn ping(&self) -> Result<(), QueueError> {
        let _pong: String = redis::cmd("PING").query_async(&mut self.0.clone()).await?;
        Ok(())
    }

    pub(super) async fn run<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, QueueError> {
        Ok(call.invoke_async(&mut self.0.clone()).await?)
    }

    pub(super) async fn call<T: FromRedisValue>(
        &self,
        command: &redis::Cmd,
    ) -> Result<T, QueueError> {
        Ok(command.query_async(&mut self.0.clone()).await?)
    }

    pub(super) async fn pipe<T: FromRedisValue>(
        &self,
        pipe: &redis::Pipeline,
    ) -> Result<T, QueueError> {
        Ok(pipe.query_async(&mut self.0.clone()).await?)
    }
}

/// A connection that blocks on the next entry of one stream.
///
/// The id of the last entry is kept, so that an entry added between two reads is not missed.
pub(super) struct Listener {
    stream: &'static str,
    state: Mutex<(ConnectionManager, String)>,
}

impl Listener {
    pub(super) fn open(url: &str, stream: &'static str) -> Result<Self, QueueError> {
        let connection = manager(url, BLOCK + ANSWER_TIMEOUT)?;
        Ok(Self {
            stream,
            state: Mutex::new((connection, "0-0".into())),
        })
    }

    /// Returns after the next entry, or after a bounded time; rings `bell` for those of this process who wait for their turn to read.
    pub(super) async fn heard(&self, bell: &Bell) {
        let mut state = self.state.lock().await;
        let (connection, last) = &mut *state;
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT")
            .arg(1)
            .arg("BLOCK")
            .arg(BLOCK.as_millis() as u64);
        read.arg("STREAMS").arg(self.stream).arg(last.as_str());
        match read
            .query_async::<Option<StreamReadReply>>(connection)
            .await
        {
            Ok(Some(reply)) => {
                let newest = reply
                    .keys
                    .iter()
                    .filter_map(|key| key.ids.last())
                    .next_back();
                if let Some(entry) = newest {
                    last.clone_from(&entry.id);
                    bell.ring();
                }
            }
            Ok(None) => {}
            Err(_) => {
                // Redis may have been emptied, and its ids may start below ours again; the caller's own call reports the failure.
                *last = "0-0".into();
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

//! What the service manager is told. Without one, nothing is said.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// Asked for with each step of the start, because a migration may take longer than the unit allows.
const START_EXTENSION: Duration = Duration::from_mins(1);

fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!("the service manager did not listen: {error}");
    }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

pub(super) fn starting(reason: &str) {
    say(&[
        NotifyState::Status(&one_line(reason)),
        NotifyState::ExtendTimeoutUsec(micros(START_EXTENSION)),
    ]);
}

pub(super) fn ready(status: &str) {
    say(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => say(&[NotifyState::Reloading, now]),
        Err(error) => debug!("no clock for RELOADING: {error}"),
    }
}

pub(super) fn stopping(reason: &str) {
    say(&[
        NotifyState::Stopping,
        NotifyState::Status(&format!("draining: {}", one_line(reason))),
    ]);
}

pub(super) fn draining(requests: u64, extension: Duration) {
    say(&[
        NotifyState::Status(&format!("draining: {requests} requests left")),
        NotifyState::ExtendTimeoutUsec(micros(extension)),
    ]);
}

pub(super) fn watchdog() {
    say(&[NotifyState::Watchdog]);
}

/// The protocol has one assignment a line, so a text that brings its own lines could bring its own assignments.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

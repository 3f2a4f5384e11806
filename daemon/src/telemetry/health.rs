//! One state of the daemon, shared by everyone who is asked for it.

use std::sync::Arc;

use tokio::sync::watch;

/// What the daemon may be asked to do right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not yet able to serve; the reason is what it waits for.
    Starting(String),
    /// Serving.
    Ready,
    /// Serving, but something that it needs does not answer; the reason says what.
    Unwell(String),
    /// Finishing what runs, taking nothing new.
    Draining(String),
}

impl State {
    /// One word for machines.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Starting(_) => "starting",
            Self::Ready => "ready",
            Self::Unwell(_) => "unwell",
            Self::Draining(_) => "draining",
        }
    }

    /// Why it is not ready; empty when it is.
    pub fn reason(&self) -> &str {
        match self {
            Self::Ready => "",
            Self::Starting(reason) | Self::Unwell(reason) | Self::Draining(reason) => reason,
        }
    }

    /// Whether new work is welcome (`/-/readyz` answers 200).
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready)
    }
}

/// A cheap handle on the state. A drain is final: nothing makes a draining daemon ready again.
#[derive(Debug, Clone)]
pub struct Health(Arc<watch::Sender<State>>);

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State::Starting(
            "reading the configuration".to_owned(),
        ))))
    }
}

impl Health {
    /// The state now.
    pub fn state(&self) -> State {
        self.0.borrow().clone()
    }

    /// Names what the start waits for.
    pub fn starting(&self, reason: impl Into<String>) {
        self.set(State::Starting(reason.into()));
    }

    /// Everything answers.
    pub fn ready(&self) {
        self.set(State::Ready);
    }

    /// Something does not answer.
    pub fn unwell(&self, reason: impl Into<String>) {
        self.set(State::Unwell(reason.into()));
    }

    /// The end has begun.
    pub fn draining(&self, reason: impl Into<String>) {
        self.0.send_replace(State::Draining(reason.into()));
    }

    /// Ends when the state satisfies `wanted`.
    pub async fn until(&self, wanted: impl FnMut(&State) -> bool) {
        let mut states = self.0.subscribe();
        // The sender lives in `self`, so the channel cannot close while we wait.
        let _ = states.wait_for(wanted).await;
    }

    fn set(&self, state: State) {
        self.0.send_if_modified(|now| {
            let change = !matches!(now, State::Draining(_)) && *now != state;
            if change {
                *now = state;
            }
            change
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_final() {
        let health = Health::default();
        assert_eq!(health.state().word(), "starting");
        health.ready();
        assert!(health.state().is_ready());
        health.unwell("the catalog is silent");
        assert_eq!(health.state().reason(), "the catalog is silent");
        health.draining("SIGTERM");
        health.ready();
        health.unwell("late");
        assert_eq!(health.state(), State::Draining("SIGTERM".to_owned()));
    }
}

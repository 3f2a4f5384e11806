//! What is noted off the request path: the audit of the doors, and the last use of keys.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::actor::{Actor, Caller};
use super::authorize::{Action, Resource, Rule};
use super::error::IdentityError;
use super::house::Identity;
use crate::catalog::NewAudit;
use crate::kernel::{AccessKeyId, Millis};

/// How long a line of the audit is kept.
pub const AUDIT_KEPT_MS: Millis = 400 * 24 * 3600 * 1000;
/// Notes that may wait to be written; the next writes itself.
const QUEUE_MAX: usize = 4096;
/// Notes of one transaction.
const BATCH_MAX: usize = 1024;
/// How long notes gather before they are written: written at once, each would cost the catalog a sync of its own just
/// when those who wait for theirs come back.
const GATHER: Duration = Duration::from_millis(100);
/// How often the last use of one key is written.
const USED_EVERY_MS: Millis = 60_000;
/// Keys whose last write of that is remembered.
const USED_KEYS_MAX: usize = 1024;
/// How often old lines and dead links are removed.
const TIDY_EVERY: Duration = Duration::from_hours(1);

/// How a mutation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was done.
    Done,
    /// The rule said no.
    Refused,
    /// Allowed, but it went wrong.
    Failed,
}

impl Outcome {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

enum Note {
    Audit(NewAudit),
    Used(AccessKeyId, Millis),
}

/// When a key was used.
struct Use {
    /// The last time.
    seen_ms: Millis,
    /// The last time that was written down.
    noted_ms: Millis,
}

pub(super) struct Notes {
    sender: mpsc::Sender<Note>,
    receiver: tokio::sync::Mutex<mpsc::Receiver<Note>>,
    used: Mutex<HashMap<AccessKeyId, Use>>,
}

impl Notes {
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        Self {
            sender,
            receiver: tokio::sync::Mutex::new(receiver),
            used: Mutex::new(HashMap::new()),
        }
    }
}

/// The audit line of one act.
pub(super) fn line(
    time_ms: Millis,
    caller: &Caller,
    action: Action,
    resource: &Resource<'_>,
    outcome: Outcome,
    rule: &Rule,
) -> NewAudit {
    NewAudit {
        time_ms,
        actor: caller.to_string(),
        action: action.as_str(),
        resource: resource.to_string(),
        outcome: outcome.as_str(),
        rule: rule.to_string(),
        source: caller.source().map(|ip| ip.to_string()).unwrap_or_default(),
    }
}

impl Identity {
    /// Notes a mutation and how it ended; returns at once unless the queue is full, then when the line is written.
    pub async fn audit(
        &self,
        caller: &Caller,
        action: Action,
        resource: &Resource<'_>,
        outcome: Outcome,
        rule: &Rule,
    ) {
        let line = self.audit_line(caller, action, resource, outcome, rule);
        if let Err(full) = self.0.notes.sender.try_send(Note::Audit(line)) {
            self.write(vec![full.into_inner()]).await;
        }
    }

    /// The same line, for a room that writes it with [`crate::catalog::Tx::insert_audit`] in the transaction of its change.
    pub fn audit_line(
        &self,
        caller: &Caller,
        action: Action,
        resource: &Resource<'_>,
        outcome: Outcome,
        rule: &Rule,
    ) -> NewAudit {
        line(
            self.0.clock.now_ms(),
            caller,
            action,
            resource,
            outcome,
            rule,
        )
    }

    /// Notes that an access key was used, and the temporary key that it was used through: written at most once a minute for each, and never in the way of a request.
    pub fn used(&self, caller: &Caller) {
        if let Actor::AccessKey { id, .. } = caller.actor() {
            self.note_use(id);
        }
        if let Some(session) = caller.session() {
            self.note_use(&session.id);
        }
    }

    fn note_use(&self, id: &AccessKeyId) {
        let seen_ms = self.0.clock.now_ms();
        let notes = &self.0.notes;
        {
            let mut used = notes.used.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = used.get_mut(id) {
                known.seen_ms = seen_ms;
                if seen_ms - known.noted_ms < USED_EVERY_MS {
                    return;
                }
            }
            if used.len() >= USED_KEYS_MAX {
                used.clear();
            }
            let noted_ms = seen_ms;
            used.insert(id.clone(), Use { seen_ms, noted_ms });
        }
        // Losing one to a full queue costs nothing: the next minute writes it.
        let _ = notes.sender.try_send(Note::Used(id.clone(), seen_ms));
    }

    /// When this process last saw a key in use; `None` when it did not lately.
    pub(super) fn last_use(&self, id: &AccessKeyId) -> Option<Millis> {
        let used = &self.0.notes.used;
        let used = used.lock().unwrap_or_else(PoisonError::into_inner);
        used.get(id).map(|one| one.seen_ms)
    }

    /// Writes the notes until `stop`, then what is left; one task of the daemon runs this.
    pub async fn run(self, stop: CancellationToken) {
        let mut receiver = self.0.notes.receiver.lock().await;
        let mut tidy = tokio::time::interval(TIDY_EVERY);
        let mut notes = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = tidy.tick() => self.tidy().await,
                _ = receiver.recv_many(&mut notes, BATCH_MAX) => {
                    let until = Instant::now() + GATHER;
                    while notes.len() < BATCH_MAX {
                        let room = BATCH_MAX - notes.len();
                        tokio::select! {
                            () = stop.cancelled() => break,
                            () = tokio::time::sleep_until(until) => break,
                            more = receiver.recv_many(&mut notes, room) => if more == 0 { break },
                        }
                    }
                    self.write(std::mem::take(&mut notes)).await;
                }
            }
        }
        // From here on a note writes itself.
        receiver.close();
        while receiver.recv_many(&mut notes, BATCH_MAX).await > 0 {
            self.write(std::mem::take(&mut notes)).await;
        }
    }

    async fn tidy(&self) {
        let now_ms = self.0.clock.now_ms();
        let tidied = self
            .0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    tx.trim_audit(now_ms - AUDIT_KEPT_MS).await?;
                    tx.delete_dead_links(now_ms).await?;
                    tx.delete_ended_temporary_keys(now_ms).await?;
                    Ok::<_, IdentityError>(())
                })
            })
            .await;
        if let Err(error) = tidied {
            tracing::warn!("old audit lines and links were not removed: {error}");
        }
    }

    async fn write(&self, notes: Vec<Note>) {
        let lines: Vec<String> = notes.iter().filter_map(Note::in_words).collect();
        let written = self
            .0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    for note in &notes {
                        match note {
                            Note::Audit(line) => tx.insert_audit(line).await?,
                            Note::Used(id, at_ms) if id.is_temporary() => {
                                tx.touch_temporary_key(id, *at_ms).await?;
                            }
                            Note::Used(id, at_ms) => tx.touch_access_key(id, *at_ms).await?,
                        }
                    }
                    Ok::<_, IdentityError>(())
                })
            })
            .await;
        if let Err(error) = written {
            // The log is the audit's last resort.
            for line in lines {
                tracing::error!("audit not written ({error}): {line}");
            }
        }
    }
}

impl Note {
    fn in_words(&self) -> Option<String> {
        match self {
            Self::Audit(a) => Some(format!(
                "{} {} {} {} by {}",
                a.actor, a.action, a.resource, a.outcome, a.rule
            )),
            Self::Used(..) => None,
        }
    }
}

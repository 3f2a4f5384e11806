//! Webhooks: what happens to objects, told to the receivers that the configuration names.
//!
//! A bucket's notification configuration says which changes go to which [`Target`]; a [`Rule`] is one line of it.
//! The outbox is the queue: [`Notifier`] reads it once for each target from where that target stopped, and what its rules admit goes out as one POST each, in the form of an S3 event record, signed.
//!
//! - At least once: a place in the outbox is noted only behind what was delivered or given up; a crash sends the last moments again, with the same `sequencer`.
//! - In order for each key: the next change of a key waits until the one before was taken. Different keys travel side by side.
//! - A target that is down rests, longer each time and never as long as its neighbours; it blocks nobody else.
//! - What is a day old, or was refused by the receiver itself too often, is given up, with a line in the log and a count in the metrics: so the outbox is never held for longer than it is kept anyway.
//! - One of two overlapping daemons delivers, by a lease.
//!
//! Which rules count is decided when an event is read, so a change of them also holds for what still waits.
//! A receiver checks `x-nebula-signature: t=SECONDS,v1=HEX`: the HMAC-SHA256, with the shared secret, of the seconds, a dot and the body ([`Target::signature`]); it refuses old seconds, and what it has seen.
//!
//! The room knows no protocol but HTTP towards its targets, and speaks no TLS: a receiver elsewhere is reached through the tailnet or a local proxy.

mod courier;
mod lane;
mod notifier;
mod record;
mod rule;
mod target;
#[cfg(test)]
mod tests;

pub use notifier::{Notifier, NotifierParts, Terms};
pub use rule::{Change, Form, Rule, SETTING, is_event, of_settings};
pub use target::{Target, Targets, arn_of, name_in};

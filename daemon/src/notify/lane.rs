//! What one target still has to hear, key by key.

use std::collections::{BTreeMap, VecDeque};

use super::record;
use super::rule::{Change, Rule};
use crate::catalog::{EventKind, EventRow};
use crate::kernel::Millis;

/// One POST.
pub(super) struct Message {
    pub(super) seq: i64,
    pub(super) time_ms: Millis,
    /// For the header: `s3:ObjectCreated:Put`.
    pub(super) event: String,
    pub(super) body: String,
    /// Which object, for the log.
    pub(super) about: String,
    /// How often the receiver itself refused it.
    pub(super) refusals: u32,
}

/// Messages of one key, in order.
pub(super) type Lane = VecDeque<Message>;

/// A bucket as notifications see it.
#[derive(Clone, Default)]
pub(super) struct Told {
    pub(super) owner: String,
    pub(super) rules: Vec<Rule>,
}

/// Sorts what `target` is to hear of these rows into lanes; `told` knows every bucket among them.
pub(super) fn lanes(
    rows: &[EventRow],
    target: &str,
    told: &BTreeMap<String, Told>,
    region: &str,
) -> Vec<Lane> {
    let mut lanes: BTreeMap<(&str, &[u8]), Lane> = BTreeMap::new();
    let nobody = Told::default();
    for row in rows {
        let bucket = row.bucket.as_deref().unwrap_or_default();
        let key = row.key.as_deref().unwrap_or_default();
        let Ok(payload) = serde_json::from_str::<serde_json::Value>(&row.payload) else {
            continue;
        };
        let mut tell = |event: String, body: String| {
            lanes.entry((bucket, key)).or_default().push_back(Message {
                seq: row.seq,
                time_ms: row.time_ms,
                event,
                body,
                about: format!("{bucket}/{}", String::from_utf8_lossy(key).escape_debug()),
                refusals: 0,
            });
        };
        if EventKind::parse(&row.kind) == Some(EventKind::NotificationTest) {
            let names = payload.get("targets").and_then(serde_json::Value::as_array);
            if names.is_some_and(|names| names.iter().any(|name| name == target)) {
                tell("s3:TestEvent".into(), record::of_test(row));
            }
            continue;
        }
        let Some(change) = Change::of(row, &payload) else {
            continue;
        };
        let told = told.get(bucket).unwrap_or(&nobody);
        let name = String::from_utf8_lossy(key);
        let mine = told.rules.iter().filter(|rule| rule.target() == target);
        for rule in mine.filter(|rule| rule.admits(change, &name)) {
            let body = record::of_change(row, &payload, change, rule, (region, &told.owner));
            tell(format!("s3:{}", change.as_str()), body);
        }
    }
    lanes.into_values().collect()
}

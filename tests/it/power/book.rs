//! Which request asked for what, and what may be found at a moment of the log.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use blake3::Hash;

use super::trace::Call;

/// The header that numbers a request.
pub(super) const HEADER: &str = "nebula-op";
/// A head is not longer.
const HEAD_BYTES: usize = 8192;

/// What was asked for under each key, by number; no hash is a deletion.
type Asked = BTreeMap<String, Vec<(u64, Option<Hash>)>>;

/// What was asked for, key by key in the order of asking.
#[derive(Default)]
pub(super) struct Book {
    number: AtomicU64,
    keys: Mutex<Asked>,
    /// Upload by id: offsets that an answer told.
    uploads: Mutex<BTreeMap<String, Vec<(u64, u64)>>>,
}

impl Book {
    /// A number for a request that changes nothing that a reader sees.
    pub(super) fn number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    /// A number for a request that makes a key what it will be.
    pub(super) fn change(&self, key: &str, to: Option<Hash>) -> u64 {
        let number = self.number();
        let mut keys = self.keys.lock().unwrap();
        keys.entry(key.to_owned()).or_default().push((number, to));
        number
    }

    /// The answer to a request told that an upload stands there.
    pub(super) fn stands(&self, upload: &str, number: u64, offset: u64) {
        let mut uploads = self.uploads.lock().unwrap();
        let told = uploads.entry(upload.to_owned()).or_default();
        told.push((number, offset));
    }

    pub(super) fn knows(&self, key: &str) -> bool {
        self.keys.lock().unwrap().contains_key(key)
    }

    /// What each key may be when the power goes at `cut`.
    pub(super) fn may_be(&self, times: &Times, cut: usize) -> BTreeMap<String, Vec<Option<Hash>>> {
        let keys = self.keys.lock().unwrap();
        let possible = |changes: &Vec<(u64, Option<Hash>)>| {
            let mut possible = vec![None];
            for (number, to) in changes {
                if times.answered.get(number).is_some_and(|at| *at <= cut) {
                    possible = vec![*to];
                } else if times.asked.get(number).is_some_and(|at| *at <= cut) {
                    possible.push(*to);
                }
            }
            possible
        };
        let keys = keys.iter();
        keys.map(|(key, changes)| (key.clone(), possible(changes)))
            .collect()
    }

    /// How far each upload must be.
    pub(super) fn offsets(&self, times: &Times, cut: usize) -> BTreeMap<String, u64> {
        let uploads = self.uploads.lock().unwrap();
        let mut least = BTreeMap::new();
        for (upload, told) in uploads.iter() {
            for (number, offset) in told {
                if times.answered.get(number).is_some_and(|at| *at <= cut) {
                    least.insert(upload.clone(), *offset);
                }
            }
        }
        least
    }
}

/// When requests came and when their answers left, by lines of the log.
#[derive(Default)]
pub(super) struct Times {
    asked: HashMap<u64, usize>,
    pub(super) answered: HashMap<u64, usize>,
}

impl Times {
    /// Finds numbered requests in what was received, and on the same connection the next good answer in what was sent.
    pub(super) fn read(calls: &[Call]) -> Self {
        let mut times = Self::default();
        let mut waiting: HashMap<i64, u64> = HashMap::new();
        for call in calls {
            match call.name.as_str() {
                "accept" | "accept4" => {
                    waiting.remove(&call.result);
                }
                "close" => {
                    waiting.remove(&call.number(0));
                }
                "recvfrom" | "recvmsg" => {
                    let head = call.head(1, HEAD_BYTES);
                    if let Some(number) = number_in(&head) {
                        times.asked.insert(number, call.start);
                        waiting.insert(call.number(0), number);
                    }
                }
                "sendto" | "sendmsg" | "write" | "writev"
                    if waiting.contains_key(&call.number(0))
                        && call.head(1, 10).starts_with(b"HTTP/1.1 2") =>
                {
                    if let Some(number) = waiting.remove(&call.number(0)) {
                        times.answered.insert(number, call.start);
                    }
                }
                _ => {}
            }
        }
        times
    }
}

fn number_in(head: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(head);
    let (_, rest) = text.split_once(&format!("\r\n{HEADER}: "))?;
    rest.split("\r\n").next()?.parse().ok()
}

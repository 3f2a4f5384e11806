//! What a transfer tells whoever watches it, and what both directions share.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Something happened to a transfer.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Comparing with what is already on the other side.
    Comparing,
    /// Goes on from here, with this much already there.
    Resumed {
        /// Bytes that need not be sent again.
        offset_bytes: u64,
    },
    /// The source is not the one that an earlier, unfinished transfer was about: starts anew.
    StartedAnew,
    /// The node has begun to receive the object: from now on what is there of it can be read at its address.
    Begun {
        /// Whether it is of a kind that plays from its beginning while the rest is on its way.
        plays: bool,
    },
    /// What was sent did not arrive before it was whole, so less is sent at once.
    SendingLess {
        /// How much content one request carries from now on.
        bytes: u64,
    },
    /// So many bytes of the content are on their way or there.
    Moved {
        /// How much of the content that is, whatever its order.
        offset_bytes: u64,
        /// How many bytes of content this call put on or took off the wire so far, repetitions counted.
        wire_bytes: u64,
    },
    /// So many lanes carry the file from now on.
    Lanes {
        /// How many.
        lanes: usize,
    },
    /// Something that passes went wrong; goes on after a wait.
    Waiting {
        /// What went wrong.
        reason: String,
        /// How long until the next attempt.
        wait: Duration,
    },
    /// All bytes are over; checking that both sides are equal.
    Verifying,
}

/// Whoever watches a transfer. Called often and from other threads: be quick.
pub trait Observer: Send + Sync {
    /// Takes one step in.
    fn step(&self, step: Step);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Observer for Unwatched {
    fn step(&self, _: Step) {}
}

impl<F: Fn(Step) + Send + Sync> Observer for F {
    fn step(&self, step: Step) {
        self(step);
    }
}

/// How sure it is that both sides are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// Sizes and BLAKE3 are equal.
    Hash,
    /// Sizes are equal; the node does not know the content's hash.
    SizeOnly,
}

impl Verified {
    /// The word in `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hash => "blake3",
            Self::SizeOnly => "size",
        }
    }
}

/// Compares what the node says with what was read here.
pub(crate) fn compare(
    what: &str,
    (here_bytes, here): (u64, &str),
    (there_bytes, there): (u64, Option<&str>),
) -> Result<Verified, crate::Error> {
    let mismatch = |detail| crate::Error::Mismatch {
        what: what.to_owned(),
        detail,
    };
    if here_bytes != there_bytes {
        return Err(mismatch(format!(
            "{here_bytes} bytes here, {there_bytes} bytes on the node"
        )));
    }
    match there {
        Some(there) if there.eq_ignore_ascii_case(here) => Ok(Verified::Hash),
        Some(there) => Err(mismatch(format!(
            "BLAKE3 {} here, {} on the node",
            short(here),
            short(there)
        ))),
        None => Ok(Verified::SizeOnly),
    }
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// The metadata that keeps a file's modification time, under the name that other tools use too (`x-amz-meta-mtime`).
pub const MTIME: &str = "mtime";

/// Nanoseconds since the epoch as seconds with a fraction: `1700000000.25`.
pub(crate) fn mtime_text(ns: i128) -> String {
    let (seconds, fraction) = (ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000));
    let text = format!("{seconds}.{fraction:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What [`mtime_text`] wrote, or another tool; none for anything else.
pub(crate) fn parse_mtime(text: &str) -> Option<SystemTime> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: u64 = seconds.parse().ok()?;
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let ns = digits.parse().ok()?;
    UNIX_EPOCH.checked_add(Duration::new(seconds, ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modification_times_keep_their_nanoseconds() {
        let table = [
            (1_700_000_000_250_000_000, "1700000000.25"),
            (1_700_000_000_000_000_001, "1700000000.000000001"),
            (1_000_000_000, "1"),
        ];
        for (ns, text) in table {
            assert_eq!(mtime_text(ns), text);
            let ns = u64::try_from(ns).unwrap_or(0);
            assert_eq!(
                parse_mtime(text),
                Some(UNIX_EPOCH + Duration::from_nanos(ns))
            );
        }
        for bad in ["", "-5", "1.x", "1,5", "yesterday"] {
            assert_eq!(parse_mtime(bad), None, "{bad}");
        }
    }
}

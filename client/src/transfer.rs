//! What a transfer tells whoever watches it.

use std::time::Duration;

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
    /// So many bytes of the content are on their way or there.
    Moved {
        /// Position in the content.
        offset_bytes: u64,
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

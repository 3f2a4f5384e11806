//! `[media]`: inbox, ladder and the room that renditions may take.

use serde::{Deserialize, Serialize};

use super::error::Fault;

/// More rungs than this cost more than any player gains.
const RUNGS_MAX: usize = 8;

/// How films are received and prepared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MediaConfig {
    /// The bucket of uploads that name none; made on first use.
    pub inbox: String,
    /// The rungs made below the original, highest first; empty makes none.
    pub ladder: Vec<Rung>,
    /// Room for renditions in bytes; what nobody watches gives way. Without a number, a fifth of the disk.
    pub cache_bytes: Option<u64>,
}

/// One rung of the ladder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rung {
    /// As shown to people, for example `720p`.
    pub name: String,
    /// Lines; the width follows the picture. A source with fewer lines skips the rung.
    pub height: u32,
    /// Bits per second of the video.
    pub video_bps: u64,
}

impl Default for MediaConfig {
    fn default() -> Self {
        let rung = |name: &str, height, video_bps| Rung {
            name: name.to_owned(),
            height,
            video_bps,
        };
        Self {
            inbox: "inbox".to_owned(),
            ladder: vec![rung("720p", 720, 2_800_000), rung("480p", 480, 1_200_000)],
            cache_bytes: None,
        }
    }
}

impl MediaConfig {
    pub(super) fn check(&self) -> Result<(), Fault> {
        let inbox = self.inbox.as_bytes();
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let inner = inbox.iter().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
        });
        if !(3..=63).contains(&inbox.len()) || !edge(inbox.first()) || !edge(inbox.last()) || !inner
        {
            return Err(Fault::new(
                "media.inbox",
                format!("`{}` is not a bucket name", self.inbox),
                "use 3 to 63 lower-case letters, digits, hyphens and dots, a letter or digit at both ends",
            ));
        }
        if self.ladder.len() > RUNGS_MAX {
            return Err(Fault::new(
                "media.ladder",
                format!("{} rungs are too many", self.ladder.len()),
                format!("keep at most {RUNGS_MAX}"),
            ));
        }
        for (at, rung) in self.ladder.iter().enumerate() {
            rung.check()?;
            if self.ladder[..at]
                .iter()
                .any(|other| other.name == rung.name)
            {
                return Err(Fault::new(
                    "media.ladder",
                    format!("two rungs are named `{}`", rung.name),
                    "give each rung its own name",
                ));
            }
        }
        Ok(())
    }
}

impl Rung {
    fn check(&self) -> Result<(), Fault> {
        let refuse = |reason: String, cure: &str| Err(Fault::new("media.ladder", reason, cure));
        let named = !self.name.is_empty()
            && self.name.len() <= 32
            && self
                .name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !named {
            return refuse(
                format!("`{}` cannot name a rung", self.name),
                "use 1 to 32 letters, digits and hyphens, as in 720p",
            );
        }
        if !(64..=4320).contains(&self.height) || self.height % 2 == 1 {
            return refuse(
                format!("rung `{}` cannot have {} lines", self.name, self.height),
                "choose an even height from 64 to 4320",
            );
        }
        if !(50_000..=200_000_000).contains(&self.video_bps) {
            return refuse(
                format!("rung `{}` has a bit rate out of bounds", self.name),
                "choose video_bps from 50000 to 200000000",
            );
        }
        Ok(())
    }
}

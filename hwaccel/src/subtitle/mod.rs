//! Subtitles as they travel: text as cues whatever it was written in, pictures as the stream that players' renderers take.
//!
//! Text comes out of libav as events of Advanced SubStation Alpha, whatever the source was; [`ass`] makes cue text of
//! WebVTT from one. Pictures are not touched: [`pgs`] and [`vobsub`] only put the packets of a container into the files
//! in which such streams lie by themselves.

pub mod ass;
pub mod pgs;
pub mod vobsub;

use serde::{Deserialize, Serialize};

/// The most cues of one track.
pub const MAX_CUES: usize = 50_000;
/// The most text of one track, in bytes; cues beyond are left out.
pub const MAX_TEXT_BYTES: usize = 4 << 20;
/// The longest single cue, in bytes.
pub const MAX_CUE_BYTES: usize = 8 << 10;
/// The most bytes of one track of pictures; what is larger is left out as a whole.
pub const MAX_PICTURES_BYTES: usize = 40 << 20;
/// The largest file of subtitles that is looked at.
pub const MAX_FILE_BYTES: u64 = 8 << 20;

/// One text on the screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cue {
    /// When it appears, in microseconds on the clock of the file.
    pub start_us: i64,
    /// When it goes; after `start_us`.
    pub end_us: i64,
    /// Where it stands, as on a number pad: 2 is below in the middle, 8 above.
    pub place: u8,
    /// Cue text of WebVTT: escaped, with `<b>`, `<i>` and `<u>`; no line of it is empty.
    pub text: String,
}

/// A stream of pictures, as its own kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PictureFormat {
    /// HDMV presentation graphics: a `.sup` file.
    Pgs,
    /// DVD: an MPEG programme stream (`.sub`) with an index beside it (`.idx`).
    Vobsub,
}

/// Puts cues in order and gives an end to those that have none.
///
/// A cue without a length stays until the next one, and at most [`UNKNOWN_US`].
pub fn settle(cues: &mut Vec<Cue>) {
    cues.retain(|cue| !cue.text.is_empty());
    cues.sort_by_key(|cue| (cue.start_us, cue.end_us));
    for at in 0..cues.len() {
        if cues[at].end_us > cues[at].start_us {
            continue;
        }
        let start = cues[at].start_us;
        let next = cues[at + 1..]
            .iter()
            .map(|cue| cue.start_us)
            .find(|next| *next > start);
        let longest = start.saturating_add(UNKNOWN_US);
        cues[at].end_us = next.map_or(longest, |next| next.min(longest));
    }
}

/// How long a text without a length is shown when no other follows, in microseconds.
pub const UNKNOWN_US: i64 = 5_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cue_without_an_end_gets_one() {
        let cue = |start_us: i64, end_us: i64| Cue {
            start_us,
            end_us,
            place: 2,
            text: "text".into(),
        };
        let mut cues = vec![
            cue(9_000_000, 9_000_000),
            cue(1_000_000, 0),
            cue(3_000_000, 4_000_000),
            Cue {
                text: String::new(),
                ..cue(0, 1)
            },
        ];
        settle(&mut cues);
        let times: Vec<(i64, i64)> = cues.iter().map(|cue| (cue.start_us, cue.end_us)).collect();
        assert_eq!(
            times,
            [
                (1_000_000, 3_000_000),
                (3_000_000, 4_000_000),
                (9_000_000, 14_000_000)
            ]
        );
    }
}

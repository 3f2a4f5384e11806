//! WebVTT (W3C) as text: subtitles cut on the film's grid, chapters, storyboards.
//!
//! Cues come from a worker that read a stranger's file, so whatever could end a cue or begin another thing is taken out
//! here once more.

use std::fmt::Write as _;

use nebula_hwaccel::subtitle::Cue;

/// Where the film's clock stands at the zero of cue times (RFC 8216bis §3.1.4): every segment of a film says the same,
/// so nothing drifts after a seek.
const MAP: &str = "X-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n";

/// The cues that are seen between two times, each with its whole length: one that is seen across a cut is in both
/// segments, as a player that begins at the second must know it (§3.1.4).
pub fn segment(cues: &[Cue], origin_us: i64, start_us: i64, end_us: i64) -> String {
    let mut out = format!("WEBVTT\n{MAP}");
    // Sorted by start: what begins behind the segment ends the search.
    let begun = cues.partition_point(|cue| cue.start_us.saturating_sub(origin_us) < end_us);
    for cue in &cues[..begun] {
        if cue.end_us.saturating_sub(origin_us) > start_us {
            put(&mut out, cue, origin_us);
        }
    }
    out
}

/// All cues in one file, for players that take the film as it is.
pub fn whole(cues: &[Cue], origin_us: i64) -> String {
    let mut out = String::from("WEBVTT\n");
    for cue in cues {
        put(&mut out, cue, origin_us);
    }
    out
}

/// One named stretch of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// In microseconds of the playlist.
    pub start_us: i64,
    /// In microseconds of the playlist.
    pub end_us: i64,
    /// One line.
    pub text: String,
}

/// Chapters or the places of a storyboard.
pub fn stretches(list: &[Stretch]) -> String {
    let mut out = String::from("WEBVTT\n");
    for one in list {
        let text: String = one
            .text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let text = text.replace("-->", "→");
        let (start, end) = (time(one.start_us), time(one.end_us));
        let _ = writeln!(out, "\n{start} --> {end}\n{}", text.trim());
    }
    out
}

fn put(out: &mut String, cue: &Cue, origin_us: i64) {
    let start_us = cue.start_us.saturating_sub(origin_us).max(0);
    let end_us = cue.end_us.saturating_sub(origin_us);
    if end_us <= start_us {
        return;
    }
    let (start, end) = (time(start_us), time(end_us));
    let _ = writeln!(out, "\n{start} --> {end}{}", settings(cue.place));
    for line in cue.text.lines().filter(|line| !line.trim().is_empty()) {
        let _ = writeln!(out, "{}", line.replace("-->", "--&gt;"));
    }
}

/// Cue settings of a place on the number pad; below in the middle needs none.
fn settings(place: u8) -> String {
    let line = match place {
        7..=9 => " line:0",
        4..=6 => " line:50%",
        _ => "",
    };
    let side = match place % 3 {
        1 => " align:start position:0%",
        0 if place > 0 => " align:end position:100%",
        _ => "",
    };
    format!("{line}{side}")
}

/// `01:02:03.004`.
fn time(us: i64) -> String {
    let ms = (us.max(0) + 500) / 1000;
    format!(
        "{:02}:{:02}:{:02}.{:03}",
        ms / 3_600_000,
        ms / 60_000 % 60,
        ms / 1000 % 60,
        ms % 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cue(start_s: i64, end_s: i64, place: u8, text: &str) -> Cue {
        Cue {
            start_us: start_s * 1_000_000,
            end_us: end_s * 1_000_000,
            place,
            text: text.into(),
        }
    }

    #[test]
    fn a_cue_over_a_cut_is_in_both_segments() {
        let cues = [
            cue(1, 5, 2, "across"),
            cue(4, 6, 8, "second"),
            cue(9, 10, 2, "later"),
        ];
        let first = segment(&cues, 0, 0, 4_000_000);
        assert_eq!(
            first,
            "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n\n00:00:01.000 --> 00:00:05.000\nacross\n"
        );
        let second = segment(&cues, 0, 4_000_000, 8_000_000);
        assert!(second.contains("00:00:01.000 --> 00:00:05.000\nacross\n"));
        assert!(second.contains("00:00:04.000 --> 00:00:06.000 line:0\nsecond\n"));
        assert!(!second.contains("later"));
    }

    #[test]
    fn times_are_those_of_the_playlist() {
        let cues = [cue(1, 3, 2, "early"), cue(3_723, 3_724, 1, "late")];
        let text = whole(&cues, 2_000_000);
        assert!(
            text.contains("00:00:00.000 --> 00:00:01.000\nearly"),
            "{text}"
        );
        let late = "01:02:01.000 --> 01:02:02.000 align:start position:0%\nlate";
        assert!(text.contains(late), "{text}");
        assert_eq!(whole(&cues[..1], 3_000_000), "WEBVTT\n");
    }

    #[test]
    fn no_text_ends_its_cue() {
        let hostile = cue(0, 1, 2, "one\n\n00:00:02.000 --> 00:00:09.000\nSTYLE");
        let text = whole(&[hostile], 0);
        assert_eq!(text.matches("-->").count(), 1, "{text}");
        assert_eq!(text.matches("\n\n").count(), 1, "{text}");
        let chapter = Stretch {
            start_us: 0,
            end_us: 1_000_000,
            text: "a\n\n--> b".into(),
        };
        assert_eq!(
            stretches(&[chapter]),
            "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\na  → b\n"
        );
    }
}

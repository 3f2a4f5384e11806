//! What lies beside a film's playlists and is neither picture nor sound: texts, pictures over it, chapters, the storyboard.
//!
//! `s3` is track 3 of the film itself, `t` and sixteen digits a file of subtitles beside it, by its content.
//! Each has `NAME.m3u8`, `NAME-7.vtt` and, whole, `NAME.vtt`; a track of pictures has `NAME.sup`, or `NAME.sub` with
//! `NAME.idx`.

/// Digits of a content id in a name.
const CONTENT_DIGITS: usize = 16;

/// A stream of subtitles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextName {
    /// A track of the film.
    Track(u32),
    /// A file beside it, by the beginning of its content id.
    Beside(String),
}

impl TextName {
    fn parse(text: &str) -> Option<Self> {
        if let Some(digits) = text.strip_prefix('s') {
            return Some(Self::Track(number(digits)?));
        }
        let digits = text.strip_prefix('t')?;
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (digits.len() == CONTENT_DIGITS && digits.bytes().all(hex))
            .then(|| Self::Beside(digits.to_owned()))
    }

    /// As it stands in addresses.
    pub fn name(&self) -> String {
        match self {
            Self::Track(track) => format!("s{track}"),
            Self::Beside(content) => format!("t{content}"),
        }
    }
}

/// A file beside the master playlist that is neither picture nor sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extra {
    /// The playlist of a stream of texts.
    TextPlaylist(TextName),
    /// A segment of one.
    TextSegment(TextName, u32),
    /// All of one.
    TextWhole(TextName),
    /// A track of pictures: `sup` or `sub`.
    Pictures(u32),
    /// The index of a track of pictures: `idx`.
    PicturesIndex(u32),
    /// `chapters.json`.
    ChapterList,
    /// `chapters.vtt`.
    Chapters,
    /// `storyboard.vtt`.
    Storyboard,
    /// `storyboard-7.jpg`.
    Sheet(u32),
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

impl Extra {
    /// Reads a file name; `None` for what is something else.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "chapters.json" => return Some(Self::ChapterList),
            "chapters.vtt" => return Some(Self::Chapters),
            "storyboard.vtt" => return Some(Self::Storyboard),
            _ => {}
        }
        let (stem, extension) = name.rsplit_once('.')?;
        let track = |stem: &str| match TextName::parse(stem)? {
            TextName::Track(track) => Some(track),
            TextName::Beside(_) => None,
        };
        match extension {
            "sup" | "sub" => track(stem).map(Self::Pictures),
            "idx" => track(stem).map(Self::PicturesIndex),
            "m3u8" => TextName::parse(stem).map(Self::TextPlaylist),
            "vtt" => match stem.split_once('-') {
                Some((stem, digits)) => {
                    Some(Self::TextSegment(TextName::parse(stem)?, number(digits)?))
                }
                None => TextName::parse(stem).map(Self::TextWhole),
            },
            "jpg" => number(stem.strip_prefix("storyboard-")?).map(Self::Sheet),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        let beside = || TextName::Beside("0123456789abcdef".into());
        for (name, extra) in [
            ("s3.m3u8", Extra::TextPlaylist(TextName::Track(3))),
            ("s3-12.vtt", Extra::TextSegment(TextName::Track(3), 12)),
            ("t0123456789abcdef.vtt", Extra::TextWhole(beside())),
            ("t0123456789abcdef-0.vtt", Extra::TextSegment(beside(), 0)),
            ("s4.sup", Extra::Pictures(4)),
            ("s4.idx", Extra::PicturesIndex(4)),
            ("chapters.json", Extra::ChapterList),
            ("storyboard-2.jpg", Extra::Sheet(2)),
        ] {
            assert_eq!(Extra::parse(name), Some(extra), "{name}");
        }
        assert_eq!(beside().name(), "t0123456789abcdef");
        for name in [
            "v1.m3u8",
            "s.vtt",
            "s03.vtt",
            "t0123.vtt",
            "s1-.vtt",
            "s1.jpg",
            "storyboard-01.jpg",
            "tABCDEF0123456789.vtt",
            "s9999999999.sup",
            "t0123456789abcdef.sup",
        ] {
            assert_eq!(Extra::parse(name), None, "{name}");
        }
    }
}

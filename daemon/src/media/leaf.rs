//! Names of the files beside a master playlist.
//!
//! A stream NAME has `NAME.m3u8`, `NAME-init.mp4` (`NAME-init-2.mp4` for its second), `NAME-7.m4s`, and a picture
//! `NAME-keys.m3u8`.

/// A file beside the master playlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaf {
    /// `master.m3u8`.
    Master,
    /// `manifest.mpd`, the same for DASH.
    Manifest,
    /// The playlist of one stream.
    Playlist(String),
    /// The playlist of the key pictures of one stream.
    Keys(String),
    /// An init segment of one stream.
    Init(String, u32),
    /// A media segment of one stream.
    Segment(String, u32),
}

impl Leaf {
    /// Reads a file name.
    pub fn parse(name: &str) -> Option<Self> {
        let stream = |text: &str| -> Option<String> {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            (!text.is_empty() && text.len() <= 64 && text.chars().all(plain))
                .then(|| text.to_owned())
        };
        let number = |text: &str| -> Option<u32> {
            let digits =
                !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
            let plain = digits && (text == "0" || !text.starts_with('0'));
            if plain { text.parse().ok() } else { None }
        };
        if name == "master.m3u8" {
            return Some(Self::Master);
        }
        if name == "manifest.mpd" {
            return Some(Self::Manifest);
        }
        if let Some(rest) = name.strip_suffix("-keys.m3u8") {
            return Some(Self::Keys(stream(rest)?));
        }
        if let Some(rest) = name.strip_suffix(".m3u8") {
            return Some(Self::Playlist(stream(rest)?));
        }
        if let Some(rest) = name.strip_suffix(".m4s") {
            let (rest, digits) = rest.rsplit_once('-')?;
            return Some(Self::Segment(stream(rest)?, number(digits)?));
        }
        let rest = name.strip_suffix(".mp4")?;
        if let Some(rest) = rest.strip_suffix("-init") {
            return Some(Self::Init(stream(rest)?, 0));
        }
        let (rest, digits) = rest.rsplit_once('-')?;
        Some(Self::Init(
            stream(rest.strip_suffix("-init")?)?,
            number(digits).filter(|n| *n > 0)?,
        ))
    }

    /// The file's name.
    pub fn name(&self) -> String {
        match self {
            Self::Master => "master.m3u8".into(),
            Self::Manifest => "manifest.mpd".into(),
            Self::Playlist(stream) => format!("{stream}.m3u8"),
            Self::Keys(stream) => format!("{stream}-keys.m3u8"),
            Self::Init(stream, 0) => format!("{stream}-init.mp4"),
            Self::Init(stream, number) => format!("{stream}-init-{number}.mp4"),
            Self::Segment(stream, number) => format!("{stream}-{number}.m4s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_read_and_written_alike() {
        for name in [
            "master.m3u8",
            "manifest.mpd",
            "v1.m3u8",
            "v1-keys.m3u8",
            "a2-init.mp4",
            "v1-0.m4s",
            "720p-1a2b3c4d.m3u8",
            "720p-1a2b3c4d-init.mp4",
            "720p-1a2b3c4d-init-2.mp4",
            "720p-1a2b3c4d-1799.m4s",
        ] {
            let leaf = Leaf::parse(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(leaf.name(), name);
        }
        for name in [
            "",
            "m3u8",
            "-keys.m3u8",
            ".m3u8",
            "v1-.m4s",
            "v1-01.m4s",
            "v1-init-0.mp4",
            "v1.mp4",
            "../v1.m3u8",
            "v1-9999999999.m4s",
            "v1-1.m4s?c=1",
            "é.m3u8",
        ] {
            assert_eq!(Leaf::parse(name), None, "{name}");
        }
    }
}

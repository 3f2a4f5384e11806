//! A codec with its profile, level and bit depth: what a film has, and the most that a player takes.

use std::fmt::Write as _;

use nebula_hwaccel::index::{TrackFacts, TrackKind};

/// A codec; what is absent is not known of a film, and without bound of a player.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Codec {
    /// FFmpeg's short name.
    pub family: String,
    /// As the codec numbers them, a higher one holding all that the lower ones do.
    pub profile: Option<u32>,
    /// As the codec numbers them.
    pub level: Option<u32>,
    /// Bits per colour sample.
    pub depth: Option<u32>,
}

impl Codec {
    /// Reads FFmpeg's short name, or what playlists say (RFC 6381); nothing when it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('.');
        let first = parts.next()?.to_ascii_lowercase();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if first.is_empty() || first.len() > 32 || !first.chars().all(plain) {
            return None;
        }
        let rest: Vec<&str> = parts.collect();
        let bare = |family: &str| {
            Some(Self {
                family: family.to_owned(),
                ..Self::default()
            })
        };
        match (first.as_str(), rest.as_slice()) {
            ("avc1" | "avc3", []) => bare("h264"),
            ("avc1" | "avc3", [digits]) if digits.len() == 6 => {
                let byte = |at: usize| u32::from_str_radix(digits.get(at..at + 2)?, 16).ok();
                Some(Self::new("h264", byte(0)?, byte(4)?, None))
            }
            // Dolby Vision counts otherwise, and what is below it is not told here.
            ("hvc1" | "hev1", []) | ("dvh1" | "dvhe", _) => bare("hevc"),
            ("hvc1" | "hev1", [profile, _, level, ..]) => {
                let profile = profile
                    .trim_start_matches(['A', 'B', 'C', 'a', 'b', 'c'])
                    .parse()
                    .ok()?;
                let level = level
                    .trim_start_matches(['L', 'H', 'l', 'h'])
                    .parse()
                    .ok()?;
                Some(Self::new("hevc", profile, level, None))
            }
            ("av01", []) => bare("av1"),
            ("av01", [profile, level, depth, ..]) => {
                let level = level.trim_end_matches(['M', 'H', 'm', 'h']).parse().ok()?;
                let depth = depth.parse().ok()?;
                Some(Self::new("av1", profile.parse().ok()?, level, Some(depth)))
            }
            ("vp09", []) => bare("vp9"),
            ("vp09", [profile, level, depth, ..]) => {
                let (level, depth) = (level.parse().ok()?, depth.parse().ok()?);
                Some(Self::new("vp9", profile.parse().ok()?, level, Some(depth)))
            }
            ("vp08", _) => bare("vp8"),
            ("mp4a", [kind, object @ ..]) => match kind.to_ascii_lowercase().as_str() {
                "40" => match object {
                    [] => bare("aac"),
                    // Object types of MPEG-4 (ISO/IEC 14496-3): LC and the two of high efficiency, which everybody takes.
                    ["2" | "02" | "5" | "05" | "29"] => Some(Self::sound("aac", 1)),
                    ["34"] => bare("mp3"),
                    ["42"] => Some(Self::sound("aac", 2)),
                    _ => Some(Self::sound("aac", 3)),
                },
                "69" | "6b" => bare("mp3"),
                "a5" => bare("ac3"),
                "a6" => bare("eac3"),
                "a9" => bare("dts"),
                "ad" => bare("opus"),
                _ => None,
            },
            ("ac-3", []) => bare("ac3"),
            ("ec-3", []) => bare("eac3"),
            ("dtsc" | "dtse" | "dtsh" | "dtsl" | "dtsx", []) => bare("dts"),
            ("mlpa", []) => bare("truehd"),
            // A name that has more behind it is one of a registry that we do not know.
            (_, []) => bare(&first),
            _ => None,
        }
    }

    fn new(family: &str, profile: u32, level: u32, depth: Option<u32>) -> Self {
        Self {
            family: family.into(),
            profile: Some(profile),
            level: Some(level),
            depth,
        }
    }

    fn sound(family: &str, profile: u32) -> Self {
        Self {
            family: family.into(),
            profile: Some(profile),
            ..Self::default()
        }
    }

    /// Of a track of a film.
    pub fn of(facts: &TrackFacts) -> Self {
        let told = facts.codecs.as_deref().and_then(Self::parse);
        let told = told.filter(|codec| codec.family == facts.codec);
        let mut codec = told.unwrap_or_default();
        codec.family.clone_from(&facts.codec);
        if let TrackKind::Video(picture) = &facts.kind
            && picture.bit_depth > 0
        {
            codec.depth = Some(picture.bit_depth.into());
        }
        codec
    }

    /// Bits per colour sample, as told or as the profile has them.
    fn bits(&self) -> Option<u32> {
        self.depth.or(match (self.family.as_str(), self.profile?) {
            ("h264", 0..110) | ("hevc" | "vp9", 1) | ("hevc", 3) | ("vp9", 0) => Some(8),
            ("h264", 110) | ("hevc", 2) => Some(10),
            _ => None,
        })
    }

    /// What this, the most that a player takes, lacks for a film of the same codec; nothing when it takes it. A predicate, as in `takes H.264 up to level 4.1, and this is of 5.1`.
    pub fn lacks(&self, film: &Self) -> Option<String> {
        let over = |most: Option<u32>, has: Option<u32>| match (most, has) {
            (Some(most), Some(has)) if has > most => Some((most, has)),
            _ => None,
        };
        let name = self.name();
        if let Some((most, has)) = over(self.bits(), film.bits()) {
            return Some(format!("takes {name} of {most} bits, and this has {has}"));
        }
        if over(self.profile, film.profile).is_some() {
            return Some(format!("takes no {name} of such a profile"));
        }
        let (most, has) = over(self.level, film.level)?;
        let (most, has) = (self.level_text(most), self.level_text(has));
        Some(format!(
            "takes {name} up to level {most}, and this is of {has}"
        ))
    }

    fn level_text(&self, level: u32) -> String {
        match self.family.as_str() {
            "hevc" => format!("{:.1}", f64::from(level) / 30.0),
            "av1" => format!("{}.{}", 2 + level / 4, level % 4),
            _ => format!("{}.{}", level / 10, level % 10),
        }
    }

    /// As people write it.
    pub fn name(&self) -> String {
        let name = match self.family.as_str() {
            "h264" => "H.264",
            "hevc" => "HEVC",
            "av1" => "AV1",
            "vp8" => "VP8",
            "vp9" => "VP9",
            "mpeg2video" => "MPEG-2",
            "mpeg4" => "MPEG-4 part 2",
            "aac" => "AAC",
            "mp3" => "MP3",
            "opus" => "Opus",
            "vorbis" => "Vorbis",
            "flac" => "FLAC",
            "ac3" => "AC-3",
            "eac3" => "E-AC-3",
            "dts" => "DTS",
            "truehd" => "TrueHD",
            other => other,
        };
        let mut text = name.to_owned();
        if self.family == "aac" && self.profile.is_some_and(|profile| profile > 1) {
            let _ = write!(text, " of a new kind");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_playlists_are_read() {
        let read = |text: &str| {
            let codec = Codec::parse(text).unwrap_or_else(|| panic!("{text}"));
            (codec.family, codec.profile, codec.level, codec.depth)
        };
        let of = |family: &str, profile, level, depth| (family.to_owned(), profile, level, depth);
        assert_eq!(read("avc1.640029"), of("h264", Some(100), Some(41), None));
        assert_eq!(
            read("hvc1.2.4.L153.B0"),
            of("hevc", Some(2), Some(153), None)
        );
        assert_eq!(read("av01.0.08M.10"), of("av1", Some(0), Some(8), Some(10)));
        assert_eq!(
            read("vp09.02.41.10"),
            of("vp9", Some(2), Some(41), Some(10))
        );
        assert_eq!(read("mp4a.40.2"), of("aac", Some(1), None, None));
        for (text, family) in [
            ("h264", "h264"),
            ("mp4a.40.34", "mp3"),
            ("mp4a.a6", "eac3"),
            ("ec-3", "eac3"),
            ("Opus", "opus"),
            ("fLaC", "flac"),
            ("pcm_s16le", "pcm_s16le"),
        ] {
            assert_eq!(read(text).0, family);
        }
        for text in [
            "",
            ".",
            "avc1.64",
            "avc1.zz0029",
            "avc1.€a",
            "hvc1.2",
            "av01.x.y.z",
            "a b",
            "xyz.1",
        ] {
            assert_eq!(Codec::parse(text), None, "{text}");
        }
    }

    #[test]
    fn more_than_the_most_is_too_much() {
        let lacks = |most: &str, film: &str| {
            let parse = |text| Codec::parse(text).expect("a name");
            parse(most).lacks(&parse(film))
        };
        assert_eq!(lacks("avc1.640029", "avc1.42001e"), None);
        assert_eq!(lacks("h264", "avc1.f40034"), None);
        let level = lacks("avc1.640029", "avc1.640033").expect("too high");
        assert!(level.contains("level 4.1, and this is of 5.1"), "{level}");
        let depth = lacks("avc1.640034", "avc1.6e0028").expect("too deep");
        assert!(depth.contains("8 bits, and this has 10"), "{depth}");
        assert!(lacks("hvc1.1.6.L120.90", "hvc1.2.4.L120.90").is_some());
        assert!(lacks("av01.0.08M.08", "av01.0.08M.10").is_some());
        assert_eq!(lacks("mp4a.40.2", "mp4a.40.5"), None);
        assert!(lacks("mp4a.40.2", "mp4a.40.42").is_some());
    }
}

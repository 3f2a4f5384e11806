//! HLS playlists as text (RFC 8216bis): what is written here is exactly what the segments are.

use std::fmt::Write as _;

use nebula_hwaccel::index::VideoRange;

/// One entry of a media playlist.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Relative to the playlist.
    pub uri: String,
    /// In seconds.
    pub duration_s: f64,
    /// The init segment it needs, relative to the playlist.
    pub init_uri: String,
}

/// A whole film in one rendition.
///
/// `independent` promises that every segment can be decoded by itself.
pub fn media(entries: &[Entry], independent: bool) -> String {
    // §4.4.3.1: no EXTINF, rounded to the nearest second, exceeds it.
    let target_s = entries
        .iter()
        .map(|entry| entry.duration_s.round() as u64)
        .max()
        .unwrap_or(1)
        .max(1);
    let mut out = String::with_capacity(200 + entries.len() * 48);
    out.push_str("#EXTM3U\n#EXT-X-VERSION:7\n");
    let _ = writeln!(out, "#EXT-X-TARGETDURATION:{target_s}");
    out.push_str("#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n");
    if independent {
        out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    list(&mut out, entries);
    out.push_str("#EXT-X-ENDLIST\n");
    out
}

/// A film that grows at its end, in one rendition; no entry is longer than `target_s`.
pub fn growing(entries: &[Entry], target_s: u64, has_ended: bool) -> String {
    let mut out = String::with_capacity(250 + entries.len() * 48);
    out.push_str("#EXTM3U\n#EXT-X-VERSION:7\n");
    let _ = writeln!(out, "#EXT-X-TARGETDURATION:{target_s}");
    out.push_str("#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:EVENT\n");
    // A player that is near the end asks for the next entry, and the answer waits for it (RFC 8216bis §6.2.5.2).
    out.push_str("#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n");
    // It is no broadcast: a player begins at the beginning.
    out.push_str("#EXT-X-START:TIME-OFFSET=0,PRECISE=YES\n");
    list(&mut out, entries);
    if has_ended {
        out.push_str("#EXT-X-ENDLIST\n");
    }
    out
}

fn list(out: &mut String, entries: &[Entry]) {
    let mut init = "";
    let mut exact_s = 0.0;
    let mut written_us = 0;
    for entry in entries {
        if entry.init_uri != init {
            if !init.is_empty() {
                out.push_str("#EXT-X-DISCONTINUITY\n");
            }
            init = &entry.init_uri;
            let _ = writeln!(out, "#EXT-X-MAP:URI=\"{init}\"");
        }
        // Rounding must not add up: each entry ends at its exact time, rounded.
        exact_s += entry.duration_s;
        let end_us = (exact_s * 1e6).round() as u64;
        let length_us = end_us.saturating_sub(written_us);
        written_us = end_us.max(written_us);
        let _ = writeln!(
            out,
            "#EXTINF:{}.{:06},\n{}",
            length_us / 1_000_000,
            length_us % 1_000_000,
            entry.uri
        );
    }
}

/// Peak and average of a rendition, in bits per second, as HLS wants them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bandwidth {
    /// Of the busiest segment.
    pub peak_bps: u64,
    /// Over the whole.
    pub average_bps: u64,
}

impl Bandwidth {
    /// From length in bytes and in seconds of each segment.
    ///
    /// Segments shorter than half a target duration say nothing about a peak (§4.1) and count with their neighbours.
    pub fn measured(segments: impl Iterator<Item = (u64, f64)>) -> Self {
        const LEAST_S: f64 = 1.0;
        let (mut bytes, mut seconds) = (0u64, 0.0);
        let (mut window_bytes, mut window_s) = (0u64, 0.0);
        let mut peak = 0.0f64;
        for (size, length_s) in segments {
            bytes += size;
            seconds += length_s;
            window_bytes += size;
            window_s += length_s;
            if window_s >= LEAST_S {
                peak = peak.max(window_bytes as f64 * 8.0 / window_s);
                (window_bytes, window_s) = (0, 0.0);
            }
        }
        if seconds <= 0.0 {
            return Self::default();
        }
        let average = bytes as f64 * 8.0 / seconds;
        Self {
            peak_bps: peak.max(average).ceil() as u64,
            average_bps: average.ceil() as u64,
        }
    }

    /// With another stream played beside it.
    pub fn beside(self, other: Self) -> Self {
        Self {
            peak_bps: self.peak_bps + other.peak_bps,
            average_bps: self.average_bps + other.average_bps,
        }
    }
}

/// A key picture.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyEntry {
    /// Its segment, relative to the playlist.
    pub uri: String,
    /// It is in so many of the first bytes of that.
    pub bytes: u64,
    /// Until the next, in seconds.
    pub duration_s: f64,
}

/// A playlist of key pictures, whose bandwidth is theirs, in a master playlist.
#[derive(Debug, Clone, PartialEq)]
pub struct Keys(pub Picture);

/// A playlist of key pictures (§4.4.3.6): for winding and for previews.
pub fn keys(entries: &[KeyEntry], init_uri: &str) -> String {
    let target_s = entries.iter().map(|entry| entry.duration_s.round() as u64);
    let target_s = target_s.max().unwrap_or(1).max(1);
    let mut out = String::with_capacity(200 + entries.len() * 80);
    out.push_str("#EXTM3U\n#EXT-X-VERSION:7\n");
    let _ = writeln!(out, "#EXT-X-TARGETDURATION:{target_s}");
    out.push_str("#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-I-FRAMES-ONLY\n");
    let _ = writeln!(out, "#EXT-X-MAP:URI=\"{init_uri}\"");
    for entry in entries {
        let _ = writeln!(
            out,
            "#EXTINF:{:.6},\n#EXT-X-BYTERANGE:{}@0\n{}",
            entry.duration_s, entry.bytes, entry.uri
        );
    }
    out.push_str("#EXT-X-ENDLIST\n");
    out
}

/// A sound rendition in a master playlist.
#[derive(Debug, Clone, PartialEq)]
pub struct Sound {
    /// Sounds of one group are of one codec.
    pub group: String,
    /// As shown to people.
    pub name: String,
    /// BCP 47 or ISO 639.
    pub language: Option<String>,
    /// Chosen when the viewer does not choose.
    pub default: bool,
    /// Channels.
    pub channels: u16,
    /// Its media playlist, relative to the master.
    pub uri: String,
    /// RFC 6381.
    pub codecs: String,
    /// Measured.
    pub bandwidth: Bandwidth,
}

/// Texts over the picture in a master playlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// As shown to people.
    pub name: String,
    /// BCP 47.
    pub language: Option<String>,
    /// Chosen when the viewer does not choose.
    pub default: bool,
    /// Only what must be read to follow the film.
    pub forced: bool,
    /// Noises and speakers too.
    pub hearing: bool,
    /// Its media playlist, relative to the master.
    pub uri: String,
    /// All of it in one file, relative to the master.
    pub whole_uri: String,
}

/// The group of all texts.
const TEXT_GROUP: &str = "text";

/// A picture (or sound alone) in a master playlist.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Its media playlist, relative to the master.
    pub uri: String,
    /// RFC 6381.
    pub codecs: String,
    /// In pixels, as shown; `None` for sound alone.
    pub size: Option<(u32, u32)>,
    /// Frames per second, where known.
    pub frame_rate: Option<f64>,
    /// `VIDEO-RANGE`.
    pub range: VideoRange,
    /// Measured.
    pub bandwidth: Bandwidth,
}

/// What a master playlist begins with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// Every segment can be decoded by itself.
    pub independent: bool,
    /// Where the chapters are, relative to the master.
    pub chapters_uri: Option<String>,
}

fn media_texts(out: &mut String, texts: &[Text]) {
    let yes = |on: bool| if on { "YES" } else { "NO" };
    for text in texts {
        let _ = write!(
            out,
            "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"{TEXT_GROUP}\",NAME=\"{}\",DEFAULT={},AUTOSELECT=YES,FORCED={}",
            quoted(&text.name),
            yes(text.default),
            yes(text.forced)
        );
        if let Some(language) = &text.language {
            let _ = write!(out, ",LANGUAGE=\"{}\"", quoted(language));
        }
        if text.hearing {
            out.push_str(
                ",CHARACTERISTICS=\"public.accessibility.transcribes-spoken-dialog,public.accessibility.describes-music-and-sound\"",
            );
        }
        let _ = writeln!(out, ",URI=\"{}\"", text.uri);
    }
}

/// The master playlist: every picture with every group of sounds and with all texts, in the order given.
pub fn master(
    pictures: &[Picture],
    sounds: &[Sound],
    texts: &[Text],
    keys: &[Keys],
    head: &Head,
) -> String {
    let mut out = String::from("#EXTM3U\n#EXT-X-VERSION:7\n");
    if head.independent {
        out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    if let Some(uri) = &head.chapters_uri {
        // As Apple's players know it.
        let _ = writeln!(
            out,
            "#EXT-X-SESSION-DATA:DATA-ID=\"com.apple.hls.chapters\",URI=\"{uri}\""
        );
    }
    let mut groups: Vec<&str> = Vec::new();
    for sound in sounds {
        if !groups.contains(&sound.group.as_str()) {
            groups.push(&sound.group);
        }
        let yes = if sound.default { "YES" } else { "NO" };
        let _ = write!(
            out,
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{}\",NAME=\"{}\",DEFAULT={yes},AUTOSELECT=YES",
            quoted(&sound.group),
            quoted(&sound.name)
        );
        if let Some(language) = &sound.language {
            let _ = write!(out, ",LANGUAGE=\"{}\"", quoted(language));
        }
        let _ = writeln!(
            out,
            ",CHANNELS=\"{}\",URI=\"{}\"",
            sound.channels, sound.uri
        );
    }
    media_texts(&mut out, texts);
    let over = (!texts.is_empty()).then_some(TEXT_GROUP);
    for picture in pictures {
        if groups.is_empty() {
            let alone = picture.bandwidth;
            variant(&mut out, picture, alone, &picture.codecs, (None, over));
        }
        for group in &groups {
            let members = || sounds.iter().filter(|sound| sound.group == **group);
            let most =
                |of: fn(&Bandwidth) -> u64| members().map(|s| of(&s.bandwidth)).max().unwrap_or(0);
            let sound = Bandwidth {
                peak_bps: most(|b| b.peak_bps),
                average_bps: most(|b| b.average_bps),
            };
            let mut codecs = picture.codecs.clone();
            for sound in members() {
                if !codecs.split(',').any(|one| one == sound.codecs) {
                    let _ = write!(codecs, ",{}", sound.codecs);
                }
            }
            variant(
                &mut out,
                picture,
                picture.bandwidth.beside(sound),
                &codecs,
                (Some(group), over),
            );
        }
    }
    for Keys(picture) in keys {
        out.push_str("#EXT-X-I-FRAME-STREAM-INF:");
        attributes(&mut out, picture, picture.bandwidth, &picture.codecs);
        let _ = writeln!(out, ",URI=\"{}\"", picture.uri);
    }
    out
}

fn variant(
    out: &mut String,
    picture: &Picture,
    bandwidth: Bandwidth,
    codecs: &str,
    (sounds, texts): (Option<&str>, Option<&str>),
) {
    out.push_str("#EXT-X-STREAM-INF:");
    attributes(out, picture, bandwidth, codecs);
    if let Some(group) = sounds {
        let _ = write!(out, ",AUDIO=\"{}\"", quoted(group));
    }
    if let Some(group) = texts {
        let _ = write!(out, ",SUBTITLES=\"{group}\"");
    }
    let _ = writeln!(out, "\n{}", picture.uri);
}

/// What a stream of pictures and one of key pictures have in common.
fn attributes(out: &mut String, picture: &Picture, bandwidth: Bandwidth, codecs: &str) {
    let _ = write!(
        out,
        "BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{codecs}\"",
        bandwidth.peak_bps.max(1),
        bandwidth.average_bps.max(1)
    );
    if let Some((width, height)) = picture.size {
        let _ = write!(out, ",RESOLUTION={width}x{height}");
    }
    let rate = picture.frame_rate;
    if let Some(rate) = rate.filter(|rate| rate.is_finite() && *rate > 0.0) {
        let _ = write!(out, ",FRAME-RATE={rate:.3}");
    }
    if picture.size.is_some() {
        let range = match picture.range {
            VideoRange::Sdr => "SDR",
            VideoRange::Hlg => "HLG",
            VideoRange::Pq => "PQ",
        };
        let _ = write!(out, ",VIDEO-RANGE={range}");
    }
}

/// Text for a quoted string, which has no way to hold a quote or a line end (§4.2).
fn quoted(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == '"' {
                '\''
            } else if c.is_control() {
                ' '
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: usize, duration_s: f64) -> Entry {
        Entry {
            uri: format!("v1-{number}.m4s"),
            duration_s,
            init_uri: "v1-init.mp4".into(),
        }
    }

    #[test]
    fn a_media_playlist_reads_like_this() {
        let text = media(&[entry(0, 2.0), entry(1, 4.5), entry(2, 0.04)], true);
        assert_eq!(
            text,
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:5\n#EXT-X-MEDIA-SEQUENCE:0\n\
             #EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"v1-init.mp4\"\n\
             #EXTINF:2.000000,\nv1-0.m4s\n#EXTINF:4.500000,\nv1-1.m4s\n#EXTINF:0.040000,\nv1-2.m4s\n#EXT-X-ENDLIST\n"
        );
    }

    #[test]
    fn rounding_does_not_add_up() {
        let third = 4.0 + 1.0 / 3.0;
        let entries: Vec<Entry> = (0..3000).map(|n| entry(n, third)).collect();
        let text = media(&entries, false);
        let micros = |line: &str| -> Option<u64> {
            line.strip_prefix("#EXTINF:")?
                .trim_end_matches(',')
                .replace('.', "")
                .parse()
                .ok()
        };
        assert_eq!(text.lines().filter_map(micros).sum::<u64>(), 13_000_000_000);
        assert!(!text.contains("INDEPENDENT"));
    }

    #[test]
    fn another_init_segment_is_a_discontinuity() {
        let mut second = entry(1, 4.0);
        second.init_uri = "v1-init-1.mp4".into();
        let text = media(&[entry(0, 4.0), second], true);
        assert!(
            text.contains(
                "v1-0.m4s\n#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"v1-init-1.mp4\"\n#EXTINF"
            )
        );
    }

    #[test]
    fn key_pictures_are_the_first_bytes_of_segments() {
        let entry = |number: u32, bytes, duration_s| KeyEntry {
            uri: format!("v1-{number}.m4s"),
            bytes,
            duration_s,
        };
        assert_eq!(
            keys(&[entry(0, 900, 2.0), entry(1, 1000, 4.2)], "v1-init.mp4"),
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:0\n\
             #EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-I-FRAMES-ONLY\n#EXT-X-MAP:URI=\"v1-init.mp4\"\n\
             #EXTINF:2.000000,\n#EXT-X-BYTERANGE:900@0\nv1-0.m4s\n\
             #EXTINF:4.200000,\n#EXT-X-BYTERANGE:1000@0\nv1-1.m4s\n#EXT-X-ENDLIST\n"
        );
    }

    #[test]
    fn bandwidth_is_that_of_the_busiest_second() {
        let measured = Bandwidth::measured([(1000, 1.0), (3000, 1.0), (900, 0.04)].into_iter());
        assert_eq!(measured.peak_bps, 24_000);
        assert_eq!(measured.average_bps, (4900.0f64 * 8.0 / 2.04).ceil() as u64);
        assert_eq!(Bandwidth::measured([].into_iter()), Bandwidth::default());
    }

    #[test]
    fn texts_are_one_group_of_every_variant() {
        let picture = |uri: &str| Picture {
            uri: uri.into(),
            codecs: "avc1.64001f".into(),
            size: None,
            frame_rate: None,
            range: VideoRange::Sdr,
            bandwidth: Bandwidth::default(),
        };
        let text = Text {
            name: "Deutsch (SDH)".into(),
            language: Some("de".into()),
            default: true,
            forced: false,
            hearing: true,
            uri: "s3.m3u8".into(),
            whole_uri: "s3.vtt".into(),
        };
        let pictures = [picture("v1.m3u8"), picture("480p.m3u8")];
        let out = master(&pictures, &[], &[text], &[], &Head::default());
        assert!(
            out.contains(
                "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"text\",NAME=\"Deutsch (SDH)\",DEFAULT=YES,AUTOSELECT=YES,FORCED=NO,\
                 LANGUAGE=\"de\",CHARACTERISTICS=\"public.accessibility.transcribes-spoken-dialog,public.accessibility.describes-music-and-sound\",\
                 URI=\"s3.m3u8\"\n"
            ),
            "{out}"
        );
        assert_eq!(out.matches(",SUBTITLES=\"text\"\n").count(), 2, "{out}");
    }

    #[test]
    fn a_master_playlist_reads_like_this() {
        let picture = |uri: &str, height: u32, bps: u64| Picture {
            uri: uri.into(),
            codecs: "avc1.64001f".into(),
            size: Some((height * 16 / 9, height)),
            frame_rate: Some(25.0),
            range: VideoRange::Sdr,
            bandwidth: Bandwidth {
                peak_bps: bps,
                average_bps: bps / 2,
            },
        };
        let sound = Sound {
            group: "mp4a".into(),
            name: "English \"5.1\"".into(),
            language: Some("eng".into()),
            default: true,
            channels: 6,
            uri: "a2.m3u8".into(),
            codecs: "mp4a.40.2".into(),
            bandwidth: Bandwidth {
                peak_bps: 100,
                average_bps: 90,
            },
        };
        assert_eq!(
            master(
                &[
                    picture("v1.m3u8", 720, 4000),
                    picture("r480p.m3u8", 480, 1000)
                ],
                &[sound],
                &[],
                &[Keys(Picture {
                    frame_rate: None,
                    ..picture("v1-keys.m3u8", 720, 200)
                })],
                &Head {
                    independent: true,
                    chapters_uri: Some("chapters.json".into()),
                }
            ),
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n\
             #EXT-X-SESSION-DATA:DATA-ID=\"com.apple.hls.chapters\",URI=\"chapters.json\"\n\
             #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"mp4a\",NAME=\"English '5.1'\",DEFAULT=YES,AUTOSELECT=YES,LANGUAGE=\"eng\",CHANNELS=\"6\",URI=\"a2.m3u8\"\n\
             #EXT-X-STREAM-INF:BANDWIDTH=4100,AVERAGE-BANDWIDTH=2090,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=25.000,VIDEO-RANGE=SDR,AUDIO=\"mp4a\"\nv1.m3u8\n\
             #EXT-X-STREAM-INF:BANDWIDTH=1100,AVERAGE-BANDWIDTH=590,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=853x480,FRAME-RATE=25.000,VIDEO-RANGE=SDR,AUDIO=\"mp4a\"\nr480p.m3u8\n\
             #EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=200,AVERAGE-BANDWIDTH=100,CODECS=\"avc1.64001f\",RESOLUTION=1280x720,VIDEO-RANGE=SDR,URI=\"v1-keys.m3u8\"\n"
        );
    }
}

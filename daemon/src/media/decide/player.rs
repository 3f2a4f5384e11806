//! What a player takes: as it says itself, as is known of its name, or as is assumed.

use nebula_api::{KnownBy, PlayerQuery};

use super::codec::Codec;

/// Entries of one list that a player states.
const STATED_MAX: usize = 32;
/// Everything.
const ANY: &[&str] = &["*"];

/// A player that is known by name.
///
/// A codec with a `?` behind it is taken on some machines only: it is offered, and the player chooses.
#[derive(Debug)]
struct Known {
    /// In queries.
    name: &'static str,
    /// For people.
    title: &'static str,
    /// What it opens as files, by the names of the index.
    containers: &'static [&'static str],
    video: &'static [&'static str],
    audio: &'static [&'static str],
    lines: Option<u32>,
}

const BROWSER_FILES: &[&str] = &["mp4", "webm", "mp3", "flac", "ogg", "wav", "aac"];
const BROWSER_SOUNDS: &[&str] = &["mp4a.40.2", "mp3", "opus", "vorbis", "flac", "pcm_s16le"];

/// Those that are known. What each takes is what its makers document for the releases of the last years; where that
/// depends on the machine, it says so.
const KNOWN: &[Known] = &[
    Known {
        name: "chromium",
        title: "Chromium",
        containers: BROWSER_FILES,
        video: &["avc1.640034", "vp8", "vp9", "av01.0.23M.10", "hevc?"],
        audio: BROWSER_SOUNDS,
        lines: None,
    },
    Known {
        name: "firefox",
        title: "Firefox",
        containers: BROWSER_FILES,
        video: &["avc1.640034", "vp8", "vp9", "av01.0.23M.10", "hevc?"],
        audio: BROWSER_SOUNDS,
        lines: None,
    },
    Known {
        name: "safari",
        title: "Safari",
        containers: &["mp4", "mp3", "wav", "aac", "flac"],
        video: &["avc1.640034", "hvc1.2.4.L186.B0", "vp9?", "av1?"],
        audio: &["mp4a.40.42", "mp3", "ac3", "eac3", "flac", "alac", "opus?"],
        lines: None,
    },
    Known {
        name: "hls.js",
        title: "hls.js",
        containers: &[],
        video: &["avc1.640034", "vp9", "av01.0.23M.10", "hevc?"],
        audio: &["mp4a.40.2", "mp3", "opus", "flac", "ac3?", "eac3?"],
        lines: None,
    },
    Known {
        name: "vlc",
        title: "VLC",
        containers: ANY,
        video: ANY,
        audio: ANY,
        lines: None,
    },
    Known {
        name: "mpv",
        title: "mpv",
        containers: ANY,
        video: ANY,
        audio: ANY,
        lines: None,
    },
    Known {
        name: "ffplay",
        title: "FFmpeg",
        containers: ANY,
        video: ANY,
        audio: ANY,
        lines: None,
    },
    Known {
        name: "kodi",
        title: "Kodi",
        containers: ANY,
        video: ANY,
        audio: ANY,
        lines: None,
    },
    Known {
        name: "exoplayer",
        title: "ExoPlayer",
        containers: &[
            "mp4", "mkv", "webm", "ts", "flv", "mp3", "ogg", "wav", "flac", "aac",
        ],
        video: &["avc1.640034", "hevc?", "vp8", "vp9", "av1?"],
        audio: &[
            "mp4a.40.2",
            "mp3",
            "opus",
            "vorbis",
            "flac",
            "ac3?",
            "eac3?",
            "dts?",
            "pcm_s16le",
        ],
        lines: None,
    },
    Known {
        name: "dlna",
        title: "a DLNA television",
        containers: &["mp4", "mkv", "ts", "avi", "mp3", "wav", "aac"],
        video: &[
            "avc1.640033",
            "hvc1.2.4.L153.B0",
            "mpeg2video",
            "vp9?",
            "av1?",
        ],
        audio: &["mp4a.40.2", "mp3", "ac3", "eac3?", "dts?", "pcm_s16le"],
        lines: Some(2160),
    },
];

/// A browser that nobody knows more of: what all of them take.
const BROWSER: Known = Known {
    name: "",
    title: "a browser",
    containers: BROWSER_FILES,
    video: &["avc1.640034", "vp8", "vp9", "av01.0.23M.10", "hevc?"],
    audio: BROWSER_SOUNDS,
    lines: None,
};

/// Marks of a `User-Agent`, in the order in which they are looked for: the first that is there names the player.
const MARKS: &[(&str, &str)] = &[
    ("VLC/", "vlc"),
    ("LibVLC/", "vlc"),
    ("Kodi/", "kodi"),
    ("libmpv", "mpv"),
    ("mpv ", "mpv"),
    ("mpv/", "mpv"),
    ("Lavf/", "ffplay"),
    ("ExoPlayer", "exoplayer"),
    ("AndroidXMedia3/", "exoplayer"),
    ("AppleCoreMedia/", "safari"),
    ("DLNADOC/", "dlna"),
    ("SEC_HHP_", "dlna"),
    // Every browser of an iPhone is Apple's below.
    ("FxiOS/", "safari"),
    ("CriOS/", "safari"),
    ("EdgiOS/", "safari"),
    ("Firefox/", "firefox"),
    ("Chrome/", "chromium"),
    ("Chromium/", "chromium"),
    ("Safari/", "safari"),
];

/// Whether a codec is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Takes {
    /// Yes.
    Yes,
    /// On some machines, and why that is so.
    Maybe(String),
    /// No, and why.
    No(String),
}

/// What a player takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// As people call it.
    pub player: String,
    /// How that is known.
    pub known_by: KnownBy,
    /// Containers that it opens as files; `None` for any.
    containers: Option<Vec<String>>,
    video: Codecs,
    audio: Codecs,
    /// The shorter side of the largest picture it shows, in pixels.
    pub lines: Option<u32>,
    /// Bits per second that reach it.
    pub bitrate_bps: Option<u64>,
    /// Whether it shows HLG and PQ.
    pub hdr: bool,
}

/// Codecs with the most that is taken of each, and whether every machine does; `None` for any.
type Codecs = Option<Vec<(Codec, bool)>>;

impl Default for Capabilities {
    fn default() -> Self {
        Self::named(&BROWSER, KnownBy::Assumed)
    }
}

impl Capabilities {
    fn named(known: &Known, known_by: KnownBy) -> Self {
        let any = |list: &[&str]| list == ANY;
        let codecs = |list: &[&str]| {
            let entry = |text: &&str| {
                let plain = text.trim_end_matches('?');
                let codec = Codec::parse(plain).unwrap_or_default();
                (codec, plain.len() == text.len())
            };
            (!any(list)).then(|| list.iter().map(entry).collect())
        };
        Self {
            player: known.title.into(),
            known_by,
            containers: (!any(known.containers))
                .then(|| known.containers.iter().map(|&word| word.into()).collect()),
            video: codecs(known.video),
            audio: codecs(known.audio),
            lines: known.lines,
            bitrate_bps: None,
            hdr: true,
        }
    }

    /// The player that this name stands for.
    fn by_user_agent(name: &str) -> Option<Self> {
        let (_, player) = MARKS.iter().find(|(mark, _)| name.contains(mark))?;
        let known = KNOWN.iter().find(|known| known.name == *player)?;
        Some(Self::named(known, KnownBy::UserAgent))
    }

    /// What is known of whoever asks; an error is a sentence that says what cannot be understood.
    pub fn of(stated: &PlayerQuery, user_agent: Option<&str>) -> Result<Self, String> {
        let mut client = match &stated.player {
            Some(name) => {
                let known = KNOWN.iter().find(|known| known.name == name);
                let known = known.ok_or_else(|| {
                    let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
                    format!(
                        "No player {name:?} is known; those that are: {}.",
                        names.join(", ")
                    )
                })?;
                Self::named(known, KnownBy::Stated)
            }
            None => user_agent.and_then(Self::by_user_agent).unwrap_or_default(),
        };
        if *stated == PlayerQuery::default() {
            return Ok(client);
        }
        client.known_by = KnownBy::Stated;
        if let Some(list) = &stated.containers {
            let list = list.to_ascii_lowercase();
            client.containers = Some(words("containers", &list)?);
        }
        if let Some(list) = &stated.video {
            client.video = Some(codecs("video", list)?);
        }
        if let Some(list) = &stated.audio {
            client.audio = Some(codecs("audio", list)?);
        }
        client.lines = stated.lines.or(client.lines);
        client.bitrate_bps = stated.bitrate_bps;
        client.hdr = stated.hdr.unwrap_or(client.hdr);
        Ok(client)
    }

    /// Whether it opens files of a container.
    pub fn opens(&self, container: &str) -> bool {
        let listed = |list: &Vec<String>| list.iter().any(|word| word == container);
        self.containers.as_ref().is_none_or(listed)
    }

    /// Whether it decodes pictures of a codec.
    pub fn sees(&self, codec: &Codec) -> Takes {
        self.takes(&self.video, codec, "pictures")
    }

    /// Whether it decodes sound of a codec.
    pub fn hears(&self, codec: &Codec) -> Takes {
        self.takes(&self.audio, codec, "sound")
    }

    fn takes(&self, list: &Codecs, codec: &Codec, what: &str) -> Takes {
        let Some(list) = list else {
            return Takes::Yes;
        };
        let name = codec.name();
        // A film's own name may be finer than the player's: `dts` stands for all of its kinds.
        let found = list.iter().find(|(most, _)| most.family == codec.family);
        let Some((most, everywhere)) = found else {
            return Takes::No(format!("{} does not take {name} {what}", self.player));
        };
        if let Some(lacks) = most.lacks(codec) {
            return Takes::No(format!("{} {lacks}", self.player));
        }
        if *everywhere {
            return Takes::Yes;
        }
        Takes::Maybe(format!(
            "{} takes {name} {what} on some machines only",
            self.player
        ))
    }
}

fn words(name: &str, list: &str) -> Result<Vec<String>, String> {
    let words = list
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(str::to_owned).collect();
    if words.len() > STATED_MAX {
        return Err(format!("{name} names more than {STATED_MAX}."));
    }
    Ok(words)
}

fn codecs(name: &str, list: &str) -> Result<Vec<(Codec, bool)>, String> {
    let words = words(name, list)?;
    let read = |word: &String| {
        let codec = Codec::parse(word).ok_or_else(|| {
            format!("{name} names {word:?}, which is no codec: h264 or avc1.640029 would be one.")
        })?;
        Ok((codec, true))
    };
    words.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As they call themselves.
    const NAMES: &[(&str, &str)] = &[
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
            "Chromium",
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/150.0.0.0 Safari/537.36",
            "Chromium",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0",
            "Chromium",
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
            "Firefox",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
            "Safari",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0.6478.35 Mobile/15E148 Safari/604.1",
            "Safari",
        ),
        (
            "AppleCoreMedia/1.0.0.21F90 (iPhone; U; CPU OS 17_5_1 like Mac OS X; en_us)",
            "Safari",
        ),
        ("VLC/3.0.21 LibVLC/3.0.21", "VLC"),
        ("libmpv", "mpv"),
        ("Lavf/59.27.100", "FFmpeg"),
        (
            "Kodi/20.5 (X11; Linux x86_64) Debian/12 App_Bitness/64 Version/20.5-Debian",
            "Kodi",
        ),
        (
            "MyPlayer/1.0 (Linux;Android 14) ExoPlayerLib/2.19.1",
            "ExoPlayer",
        ),
        (
            "DLNADOC/1.50 SEC_HHP_[TV] Samsung Q60 Series (65)/1.0",
            "a DLNA television",
        ),
    ];

    #[test]
    fn players_are_known_by_their_names() {
        for (name, player) in NAMES {
            let client = Capabilities::of(&PlayerQuery::default(), Some(name)).expect("fine");
            assert_eq!(client.player, *player, "{name}");
            assert_eq!(client.known_by, KnownBy::UserAgent);
        }
        for name in [None, Some("curl/8.5.0"), Some("")] {
            let client = Capabilities::of(&PlayerQuery::default(), name).expect("fine");
            assert_eq!(client, Capabilities::default());
        }
    }

    #[test]
    fn every_entry_of_the_table_is_a_codec_and_every_mark_a_player() {
        for known in KNOWN.iter().chain([&BROWSER]) {
            for text in known.video.iter().chain(known.audio) {
                let plain = text.trim_end_matches('?');
                assert!(*text == "*" || Codec::parse(plain).is_some(), "{text}");
            }
        }
        for (mark, name) in MARKS {
            assert!(KNOWN.iter().any(|known| known.name == *name), "{mark}");
        }
    }

    #[test]
    fn what_is_stated_stands_over_what_is_known() {
        let stated = PlayerQuery {
            video: Some("avc1.64001F, hvc1.2.4.L153.B0".into()),
            lines: Some(720),
            ..PlayerQuery::default()
        };
        let client = Capabilities::of(&stated, Some("Firefox/128.0")).expect("fine");
        assert_eq!(
            (client.player.as_str(), client.known_by),
            ("Firefox", KnownBy::Stated)
        );
        let codec = |text| Codec::parse(text).expect("a name");
        assert_eq!(client.sees(&codec("avc1.64001f")), Takes::Yes);
        assert_eq!(client.sees(&codec("hvc1.2.4.L150.B0")), Takes::Yes);
        assert!(matches!(client.sees(&codec("avc1.640028")), Takes::No(_)));
        assert!(matches!(client.sees(&codec("vp9")), Takes::No(_)));
        assert_eq!(client.hears(&codec("opus")), Takes::Yes, "as Firefox does");
        assert_eq!(client.lines, Some(720));

        let wrong = |stated: PlayerQuery| Capabilities::of(&stated, None).expect_err("wrong");
        let player = wrong(PlayerQuery {
            player: Some("winamp".into()),
            ..PlayerQuery::default()
        });
        assert!(
            player.contains("winamp") && player.contains("kodi"),
            "{player}"
        );
        let video = wrong(PlayerQuery {
            video: Some("avc1.64".into()),
            ..PlayerQuery::default()
        });
        assert!(video.contains("avc1.64"), "{video}");
        wrong(PlayerQuery {
            audio: Some("a,".repeat(STATED_MAX + 1)),
            ..PlayerQuery::default()
        });
    }
}

//! The playlist is the truth: for every film here, what the playlists say is what the segments are, and what the segments
//! hold is what the source holds, packet for packet.

#![expect(clippy::unwrap_used, reason = "tests")]

mod films;
mod parsers;
mod players;
pub(crate) mod probe;
mod readers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nebula_api::{AssetState, CreateBucket, CreateLink};
use nebula_client::transfer::Unwatched;
use nebula_client::upload::{self, Options};
use nebula_tests::{Appliance, Setup, wait, within};
pub use players::busy;
use probe::{Packet, Playlist, attribute};

/// For a table of films, on a machine that does much else.
const LIMIT: Duration = Duration::from_mins(5);
/// Until the films are looked at.
const LOOKED_AT: Duration = Duration::from_mins(3);
/// A time that has to be right.
const EXACT_S: f64 = 0.001;
/// Sound may begin so much before the picture without moving the zero.
const LEAD_S: f64 = 0.1;

/// An appliance with a bucket of films, and an address that needs no credentials.
pub(crate) struct House {
    pub(crate) appliance: Appliance,
    films: String,
    pub(crate) http: reqwest::Client,
}

impl House {
    pub(crate) async fn with(films: &[PathBuf]) -> Self {
        Self::with_ladder(films, "[]").await
    }

    /// `ladder` as the configuration has it.
    pub(crate) async fn with_ladder(films: &[PathBuf], ladder: &str) -> Self {
        let appliance = Setup::default()
            .config(&format!("[media]\nladder = {ladder}\n"))
            .start()
            .await;
        let client = appliance.client();
        let bucket = CreateBucket {
            name: "films".into(),
            ..CreateBucket::default()
        };
        client.create_bucket(&bucket).await.unwrap();
        for film in films {
            let options = Options {
                state: None,
                ..Options::default()
            };
            upload::push(&client, film, "films", &key(film), &options, &Unwatched)
                .await
                .unwrap();
        }
        let wanted = CreateLink {
            bucket: "films".into(),
            prefix: Some("all/".into()),
            expires_in_s: 3600,
            ..CreateLink::default()
        };
        let link = client.create_link(&wanted).await.unwrap();
        let films = client.absolute(&link.urls.unwrap().file);
        let films = films.replacen("/file/", "/hls/", 1);
        Self {
            appliance,
            films,
            http: reqwest::Client::new(),
        }
    }

    pub(crate) async fn looked_at(&self, film: &str) -> AssetState {
        let client = self.appliance.client();
        let mut state = AssetState::Indexing;
        wait::patiently(LOOKED_AT, "the film is looked at", async || {
            let asset = client.asset("films", &format!("all/{film}")).await.unwrap();
            state = asset.map_or(AssetState::Indexing, |asset| asset.state);
            state != AssetState::Indexing
        })
        .await;
        state
    }

    pub(crate) fn address(&self, film: &str, leaf: &str) -> String {
        format!("{}{film}/{leaf}", self.films)
    }

    pub(crate) async fn bytes(&self, address: &str) -> Vec<u8> {
        let answer = self.http.get(address).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{address}");
        answer.bytes().await.unwrap().to_vec()
    }

    /// Peak and average rate of a playlist's segments in bits per second, and how many samples each holds.
    async fn measured(&self, film: &str, playlist: &Playlist) -> ((f64, f64), Vec<usize>) {
        let mut counts = Vec::new();
        let (mut bytes, mut peak) = (0usize, 0.0f64);
        for (length, uri) in &playlist.segments {
            let segment = self.bytes(&self.address(film, uri)).await;
            counts.push(probe::samples(&segment));
            bytes += segment.len();
            if *length >= playlist.target_s / 2.0 {
                peak = peak.max(segment.len() as f64 * 8.0 / length);
            }
        }
        let average = bytes as f64 * 8.0 / playlist.total_s().max(0.001);
        ((peak.max(average), average), counts)
    }

    pub(crate) async fn text(&self, address: &str) -> String {
        String::from_utf8(self.bytes(address).await).unwrap()
    }
}

pub(crate) fn name(film: &Path) -> &str {
    film.file_name().unwrap().to_str().unwrap()
}

fn key(film: &Path) -> String {
    format!("all/{}", name(film))
}

/// What is wrong with a film, in words; and how many tracks and packets of it were compared.
#[derive(Default)]
struct Verdict {
    wrong: Vec<String>,
    tracks: usize,
    packets: usize,
    /// Every playlist and manifest, by a name of its own.
    texts: BTreeMap<String, String>,
}

impl Verdict {
    fn check(&mut self, right: bool, say: impl FnOnce() -> String) {
        if !right && self.wrong.len() < 12 {
            self.wrong.push(say());
        }
    }
}

/// Presentation times of what is shown: first and end. The priming of sound is read, and heard from `start_s`.
fn span(packets: &[&Packet], start_s: Option<f64>) -> (f64, f64) {
    let shown = || packets.iter().filter(|packet| !packet.hidden);
    let first = shown()
        .filter_map(|p| p.pts_s)
        .fold(f64::INFINITY, f64::min);
    let end = shown()
        .filter_map(|p| Some(p.pts_s? + p.duration_s))
        .fold(f64::NEG_INFINITY, f64::max);
    (start_s.map_or(first, |start_s| start_s.max(first)), end)
}

/// Everything about one film.
async fn examine(house: &House, film: &Path) -> Verdict {
    let mut verdict = Verdict::default();
    let key = name(film);
    let told = probe::packets(film.to_str().unwrap()).await;
    let source = told.packets;
    let start_of = |stream: &str| {
        let (kind, start_s) = &told.streams[stream[1..].parse::<usize>().unwrap()];
        start_s.filter(|_| kind == "audio")
    };
    let master = house.text(&house.address(key, "master.m3u8")).await;
    let mut streams: BTreeMap<String, String> = BTreeMap::new();
    for line in master.lines() {
        let uri = if line.starts_with("#EXT-X-MEDIA:TYPE=AUDIO") {
            attribute(line, "URI")
        } else {
            (!line.starts_with('#')).then_some(line)
        };
        let Some(uri) = uri else { continue };
        let (stream, _) = uri.split_once(".m3u8").unwrap();
        if stream[1..].parse::<u64>().is_ok() {
            streams.insert(stream.to_owned(), uri.to_owned());
        }
    }
    let of = |stream: &str| -> Vec<&Packet> {
        let id: u64 = stream[1..].parse().unwrap();
        source.iter().filter(|packet| packet.stream == id).collect()
    };
    // The zero of the playlists: the picture's start, or the sound's where that is well before.
    let starts = |letter: char| {
        streams
            .keys()
            .filter(move |stream| stream.starts_with(letter))
            .map(|stream| span(&of(stream), start_of(stream)).0)
            .fold(f64::INFINITY, f64::min)
    };
    let (picture_s, sound_s) = (starts('v'), starts('a'));
    let zero_s = if picture_s - sound_s > LEAD_S {
        sound_s
    } else {
        picture_s
    };
    let mut measured = BTreeMap::new();
    let mut all: BTreeMap<String, Vec<Packet>> = BTreeMap::new();
    for (stream, uri) in &streams {
        let address = house.address(key, uri);
        let text = house.text(&address).await;
        let playlist = Playlist::read(&text);
        verdict.texts.insert(format!("{key}-{stream}.m3u8"), text);
        let (figures, counts) = house.measured(key, &playlist).await;
        measured.insert(uri.clone(), figures);
        let probe::Told {
            packets: served,
            complaints,
            ..
        } = probe::packets(&address).await;
        verdict.check(complaints.is_empty(), || {
            format!("{stream}: ffprobe: {complaints}")
        });
        let altered = ["ts", "m2ts", "avi", "aac"]
            .iter()
            .any(|kind| key.ends_with(&format!(".{kind}")));
        let source = of(stream);
        let hashes = if altered {
            probe::remuxed(film.to_str().unwrap(), source[0].stream).await
        } else {
            source.iter().map(|packet| packet.hash.clone()).collect()
        };
        let zero_s = if zero_s.is_finite() {
            zero_s
        } else {
            span(&source, start_of(stream)).0
        };
        track(
            &mut verdict,
            stream,
            &source,
            &hashes,
            &served,
            &playlist,
            &counts,
            zero_s,
        );
        all.insert(stream.clone(), served);
    }
    // Sound that was made anew is measured as well.
    for line in master
        .lines()
        .filter(|line| line.starts_with("#EXT-X-MEDIA:TYPE=AUDIO"))
    {
        let Some(uri) = attribute(line, "URI").filter(|uri| !measured.contains_key(*uri)) else {
            continue;
        };
        let playlist = Playlist::read(&house.text(&house.address(key, uri)).await);
        let (figures, _) = house.measured(key, &playlist).await;
        measured.insert(uri.to_owned(), figures);
    }
    bandwidths(&mut verdict, &master, &measured);
    verdict.texts.insert(format!("{key}.m3u8"), master.clone());
    if streams.keys().any(|stream| stream.starts_with('v')) {
        keys(&mut verdict, house, key, &master, &all).await;
    }
    manifest(&mut verdict, house, key, &all).await;
    verdict
}

/// The playlist of key pictures: each entry is one picture that stands alone, with its init segment.
async fn keys(
    verdict: &mut Verdict,
    house: &House,
    film: &str,
    master: &str,
    all: &BTreeMap<String, Vec<Packet>>,
) {
    let line = master
        .lines()
        .find(|line| line.starts_with("#EXT-X-I-FRAME-STREAM-INF:"));
    let uri = line
        .and_then(|line| attribute(line, "URI"))
        .map(str::to_owned);
    verdict.check(uri.is_some(), || "no playlist of key pictures".into());
    let Some(uri) = uri else { return };
    let text = house.text(&house.address(film, &uri)).await;
    verdict.check(text.contains("#EXT-X-I-FRAMES-ONLY"), || {
        format!("{uri}: {text}")
    });
    let playlist = Playlist::read(&text);
    let mut file = house.bytes(&house.address(film, &playlist.init)).await;
    for ((_, uri), bytes) in playlist.segments.iter().zip(&playlist.ranges) {
        let asked = house.http.get(house.address(film, uri));
        let asked = asked.header("range", format!("bytes=0-{}", bytes - 1));
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status(), 206, "{uri}");
        file.extend_from_slice(&answer.bytes().await.unwrap());
    }
    let place = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(place.path(), &file).unwrap();
    let told = probe::packets(place.path().to_str().unwrap()).await;
    let stream = uri.split_once('-').unwrap().0;
    let mut pictures = all[stream].iter().filter(|packet| packet.key);
    let found = told.packets.len() == playlist.segments.len()
        && playlist.ranges.len() == playlist.segments.len()
        && told
            .packets
            .iter()
            .all(|packet| packet.key && pictures.any(|picture| picture.hash == packet.hash));
    verdict.check(found && told.complaints.is_empty(), || {
        format!(
            "{uri}: {} pictures of {} entries; {}",
            told.packets.len(),
            playlist.segments.len(),
            told.complaints
        )
    });
    verdict.texts.insert(format!("{film}-keys.m3u8"), text);
}

/// The manifest, read by ffmpeg's own DASH reader: the same packets.
async fn manifest(
    verdict: &mut Verdict,
    house: &House,
    film: &str,
    all: &BTreeMap<String, Vec<Packet>>,
) {
    let address = house.address(film, "manifest.mpd");
    let text = house.text(&address).await;
    let told = probe::packets(&address).await;
    verdict.check(told.complaints.is_empty(), || {
        format!("the manifest: {}", told.complaints)
    });
    let mut found: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for packet in &told.packets {
        found.entry(packet.stream).or_default().push(&packet.hash);
    }
    for (stream, packets) in all {
        let wanted: Vec<&str> = packets.iter().map(|packet| packet.hash.as_str()).collect();
        // ffmpeg stops when the first of several streams ends, so of the others it leaves some unread.
        let same = |have: &&Vec<&str>| !have.is_empty() && wanted.starts_with(have.as_slice());
        verdict.check(found.values().any(|have| same(&have)), || {
            let counts: Vec<usize> = found.values().map(Vec::len).collect();
            format!(
                "the manifest: {stream} has {} packets, not among {counts:?}",
                wanted.len()
            )
        });
    }
    verdict.texts.insert(format!("{film}.mpd"), text);
}

/// One track: times, keyframes and checksums.
#[expect(
    clippy::too_many_arguments,
    reason = "one comparison of all that is known"
)]
fn track(
    verdict: &mut Verdict,
    stream: &str,
    source: &[&Packet],
    hashes: &[String],
    served: &[Packet],
    playlist: &Playlist,
    counts: &[usize],
    zero_s: f64,
) {
    verdict.tracks += 1;
    verdict.packets += served.len();
    verdict.check(playlist.ended, || {
        format!("{stream}: the playlist has no end")
    });
    verdict.check(served.len() == source.len(), || {
        format!("{stream}: {} packets of {}", served.len(), source.len())
    });
    let total: usize = counts.iter().sum();
    verdict.check(total == served.len(), || {
        format!(
            "{stream}: the segments hold {total} samples, ffprobe reads {}",
            served.len()
        )
    });
    let differing = served
        .iter()
        .zip(hashes)
        .position(|(packet, hash)| packet.hash != *hash);
    verdict.check(differing.is_none() && hashes.len() == served.len(), || {
        format!(
            "{stream}: packet {differing:?} is not the source's ({} of them)",
            hashes.len()
        )
    });
    let (_, end_s) = span(source, None);
    // The longest step from one picture to the next, as frames differ in length.
    let mut times: Vec<f64> = source.iter().filter_map(|packet| packet.pts_s).collect();
    times.sort_by(f64::total_cmp);
    let steps = times.windows(2).map(|pair| pair[1] - pair[0]);
    let frame_s = steps.fold(0.0, f64::max).clamp(0.01, 0.15) + EXACT_S;
    let total_s = playlist.total_s();
    verdict.check((total_s - (end_s - zero_s)).abs() <= frame_s, || {
        format!(
            "{stream}: the playlist is {total_s:.4} s long, the film {:.4} s (zero at {zero_s:.4})",
            end_s - zero_s
        )
    });
    for (at, (there, here)) in source.iter().zip(served).enumerate() {
        if let (Some(there_s), Some(here_s), false) = (there.pts_s, here.pts_s, there.hidden) {
            let off_s = here_s - (there_s - zero_s);
            verdict.check(off_s.abs() <= EXACT_S, || {
                format!(
                    "{stream}: packet {at} is off by {:.2} ms ({there_s} to {here_s})",
                    off_s * 1000.0
                )
            });
        }
    }
    let (mut begin_s, mut at) = (0.0, 0);
    for (number, ((length_s, _), count)) in playlist.segments.iter().zip(counts).enumerate() {
        let Some(first) = served.get(at) else { break };
        let shown_s = first.pts_s.unwrap_or(f64::NAN);
        verdict.check(
            first.key && source.get(at).is_none_or(|packet| packet.key),
            || format!("{stream}: segment {number} does not start on a keyframe"),
        );
        verdict.check(number == 0 || (shown_s - begin_s).abs() <= EXACT_S, || {
            format!(
                "{stream}: segment {number} starts at {shown_s:.4}, the playlist says {begin_s:.4}"
            )
        });
        verdict.check(length_s.round() <= playlist.target_s, || {
            format!("{stream}: segment {number} is longer than the target duration")
        });
        begin_s += length_s;
        at += count;
    }
}

/// The master's figures within a tenth of what was downloaded.
fn bandwidths(verdict: &mut Verdict, master: &str, measured: &BTreeMap<String, (f64, f64)>) {
    let mut lines = master.lines().peekable();
    while let Some(line) = lines.next() {
        if !line.starts_with("#EXT-X-STREAM-INF:") {
            continue;
        }
        for wanted in ["CODECS", "BANDWIDTH", "AVERAGE-BANDWIDTH"] {
            verdict.check(attribute(line, wanted).is_some(), || {
                format!("no {wanted}: {line}")
            });
        }
        let uri = lines.peek().copied().unwrap_or("");
        let Some(&(mut peak, mut average)) = measured.get(uri) else {
            continue;
        };
        if let Some(group) = attribute(line, "AUDIO") {
            let sounds = master.lines().filter(|line| {
                line.starts_with("#EXT-X-MEDIA:TYPE=AUDIO")
                    && attribute(line, "GROUP-ID") == Some(group)
            });
            let sounds: Vec<&(f64, f64)> = sounds
                .filter_map(|line| measured.get(attribute(line, "URI")?))
                .collect();
            peak += sounds.iter().map(|sound| sound.0).fold(0.0, f64::max);
            average += sounds.iter().map(|sound| sound.1).fold(0.0, f64::max);
        }
        for (name, truth) in [("BANDWIDTH", peak), ("AVERAGE-BANDWIDTH", average)] {
            let said: f64 = attribute(line, name)
                .and_then(|text| text.parse().ok())
                .unwrap_or(0.0);
            verdict.check((said / truth - 1.0).abs() <= 0.1, || {
                format!("{name} says {said:.0}, measured {truth:.0}: {uri}")
            });
        }
    }
}

/// Examines films, and has what was written about them read by others; gives what is wrong.
async fn examine_all(house: &House, films: &[&PathBuf], all_tracks: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let texts = tempfile::tempdir().unwrap();
    for film in films {
        let verdict = examine(house, film).await;
        let name = name(film);
        println!(
            "{name}: {} tracks, {} packets, {} wrong",
            verdict.tracks,
            verdict.packets,
            verdict.wrong.len()
        );
        if all_tracks {
            let told = probe::packets(film.to_str().unwrap()).await;
            let tracks = told.streams.len();
            if verdict.tracks != tracks {
                wrong.push(format!(
                    "{name}: {} of {tracks} tracks are served",
                    verdict.tracks
                ));
            }
        }
        let say = |what| format!("{name}: {what}");
        wrong.extend(verdict.wrong.into_iter().map(say));
        for (name, text) in verdict.texts {
            std::fs::write(texts.path().join(name), text).unwrap();
        }
    }
    wrong.extend(parsers::read(texts.path()).await.err());
    wrong
}

#[tokio::test]
async fn playlists_of_made_films_are_the_truth() {
    within(LIMIT, async {
        let films: Option<Vec<PathBuf>> = films::FILMS.iter().map(films::ready).collect();
        let Some(films) = films else { return };
        let house = House::with(&films).await;
        for film in &films {
            let state = house.looked_at(name(film)).await;
            assert_eq!(state, AssetState::Ready, "{}", name(film));
        }
        let films: Vec<&PathBuf> = films.iter().collect();
        let wrong = examine_all(&house, &films, true).await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    })
    .await;
}

/// Samples of which nothing can be played: one is encrypted, the other damaged beyond its boxes.
const UNPLAYABLE: &[&str] = &[
    "drm__sample_fragmented_clearkey.mp4",
    "mp4__sample_malformed_free_box.mp4",
];

/// Samples whose picture or sound has no place in CMAF: MPEG-4 part 2, VP8, DTS, PCM, MPEG-2.
const MADE_ANEW: &[&str] = &[
    "avi__sample.avi",
    "mkv__bbb_960x540_60fps_vp8.webm",
    "mkv__sample_with_dts_hd_ma.mkv",
    "mp4__sowt-with-video.mov",
    "ts__bbb_2500ms.ts",
];

#[tokio::test]
async fn playlists_of_samples_are_the_truth() {
    within(LIMIT, async {
        let films = nebula_tests::films::samples();
        if films.is_empty() {
            return;
        }
        let house = House::with(&films).await;
        let mut played = Vec::new();
        for film in &films {
            let state = house.looked_at(name(film)).await;
            if UNPLAYABLE.contains(&name(film)) {
                assert_eq!(state, AssetState::Failed, "{}", name(film));
                continue;
            }
            let address = house.address(name(film), "master.m3u8");
            let status = house.http.get(&address).send().await.unwrap().status();
            if MADE_ANEW.contains(&name(film)) {
                assert!(status == 503 || status == 200, "{}: {status}", name(film));
                continue;
            }
            assert_eq!(status, 200, "{}", name(film));
            played.push(film);
        }
        let wrong = examine_all(&house, &played, false).await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    })
    .await;
}

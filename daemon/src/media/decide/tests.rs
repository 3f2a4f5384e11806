use nebula_api::PlayerQuery;
use nebula_hwaccel::index::MediaIndex;

use super::*;
use crate::media::timeline::tests::film;

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

/// A film of one picture and one sound, by the names that playlists have for them.
fn shot(container: &str, video: &str, audio: &str) -> MediaIndex {
    let mut index = film(4, 25);
    index.facts.container = container.into();
    for (track, codecs) in index.facts.tracks.iter_mut().zip([video, audio]) {
        track.codec = Codec::parse(codecs).expect("a codec").family;
        track.codecs = codecs.contains(['.', '-']).then(|| codecs.to_owned());
    }
    index
}

fn player(name: &str) -> Capabilities {
    let stated = PlayerQuery {
        player: Some(name.into()),
        ..PlayerQuery::default()
    };
    Capabilities::of(&stated, None).expect("a known player")
}

fn decided(client: &Capabilities, index: MediaIndex) -> Decision {
    decide(client, &Film::new(index), &RenditionList::default(), false)
}

const LC: &str = "mp4a.40.2";
const HIGH: &str = "avc1.640028";

#[test]
fn the_mode_follows_from_what_the_player_takes() {
    use PlaybackMode::{Audio, Direct, Remux, Transcode};
    #[rustfmt::skip]
    let table = [
        // player, container, picture, sound, what happens, a word of the reason
        ("firefox", "mp4", HIGH, LC, Direct, "Firefox takes mp4"),
        ("firefox", "webm", "vp09.00.40.08", "opus", Direct, "webm"),
        ("firefox", "mkv", HIGH, LC, Remux, "not mkv files"),
        ("firefox", "ts", HIGH, LC, Remux, "not ts files"),
        ("firefox", "mp4", HIGH, "ac-3", Audio, "AC-3"),
        ("firefox", "mkv", HIGH, "dts", Audio, "DTS"),
        ("firefox", "mp4", "hvc1.1.6.L120.90", LC, Transcode, "some machines"),
        ("firefox", "mp4", "mpeg2video", LC, Transcode, "MPEG-2"),
        ("firefox", "mp4", "avc1.6e0028", LC, Transcode, "10"),
        ("chromium", "mp4", "av01.0.08M.10", "opus", Direct, "mp4"),
        ("chromium", "mp4", "av01.1.08M.08", "opus", Transcode, "profile"),
        ("chromium", "mp4", HIGH, "ec-3", Audio, "E-AC-3"),
        ("safari", "mp4", "hvc1.2.4.L153.B0", "ec-3", Direct, "mp4"),
        ("safari", "mkv", "hvc1.2.4.L153.B0", "ec-3", Remux, "mkv"),
        ("safari", "mp4", HIGH, "opus", Audio, "some machines"),
        ("hls.js", "mp4", HIGH, LC, Remux, "not mp4 files"),
        ("vlc", "mkv", "hvc1.2.4.L153.B0", "dts", Direct, "VLC"),
        ("mpv", "avi", "mpeg4", "mp3", Direct, "mpv"),
        ("ffplay", "flv", "vp8", "vorbis", Direct, "flv"),
        ("kodi", "ts", "mpeg2video", "ac-3", Direct, "Kodi"),
        ("exoplayer", "mkv", HIGH, LC, Direct, "ExoPlayer"),
        ("exoplayer", "avi", HIGH, LC, Remux, "avi"),
        ("dlna", "mkv", "hvc1.2.4.L153.B0", "ac-3", Direct, "television"),
        ("dlna", "mkv", "avc1.640034", "ac-3", Transcode, "level 5.1, and this is of 5.2"),
        ("dlna", "webm", "vp09.00.40.08", "opus", Transcode, "some machines"),
    ];
    for (name, container, video, audio, mode, word) in table {
        let what = format!("{name}: {container} {video} {audio}");
        let decision = decided(&player(name), shot(container, video, audio));
        assert_eq!(decision.mode, mode, "{what}: {}", decision.reason);
        assert!(
            decision.reason.contains(word),
            "{what}: {}",
            decision.reason
        );
    }
}

#[test]
fn size_rate_and_range_have_a_say() {
    let stated = |query: PlayerQuery| Capabilities::of(&query, Some(FIREFOX)).expect("fine");
    let mode = |client: &Capabilities, change: fn(&mut MediaIndex)| {
        let mut index = shot("mp4", HIGH, LC);
        index.facts.bitrate_bps = 8_000_000;
        change(&mut index);
        let decision = decided(client, index);
        (decision.mode, decision.reason)
    };
    let small = stated(PlayerQuery {
        lines: Some(480),
        ..PlayerQuery::default()
    });
    let (is, why) = mode(&small, |_| {});
    assert_eq!(is, PlaybackMode::Transcode);
    assert!(why.contains("720 lines and Firefox shows 480"), "{why}");
    let slow = stated(PlayerQuery {
        bitrate_bps: Some(1_000_000),
        ..PlayerQuery::default()
    });
    let (is, why) = mode(&slow, |_| {});
    assert_eq!(is, PlaybackMode::Transcode);
    assert!(why.contains("8.0 Mbit/s and 1.0 Mbit/s reach"), "{why}");
    let flat = stated(PlayerQuery {
        hdr: Some(false),
        ..PlayerQuery::default()
    });
    assert_eq!(mode(&flat, |_| {}).0, PlaybackMode::Direct);
    let bright = |index: &mut MediaIndex| {
        let TrackKind::Video(picture) = &mut index.facts.tracks[0].kind else {
            panic!("a picture")
        };
        picture.range = VideoRange::Pq;
    };
    let (is, why) = mode(&flat, bright);
    assert_eq!(is, PlaybackMode::Transcode);
    assert!(why.contains("HDR"), "{why}");
    assert_eq!(
        mode(&stated(PlayerQuery::default()), bright).0,
        PlaybackMode::Direct
    );
}

/// Streams of one kind with nothing, a doubt, or a refusal against them.
fn offers(objections: &[Objection]) -> Vec<Offer> {
    let one = |(at, objection): (usize, &Objection)| Offer {
        stream: format!("s{at}"),
        name: String::new(),
        is_sound: false,
        codecs: String::new(),
        size: None,
        bitrate_bps: 1_000_000 * (5 - at as u64),
        objection: objection.clone(),
        given: false,
    };
    objections.iter().enumerate().map(one).collect()
}

#[test]
fn a_guess_never_leaves_a_player_with_nothing() {
    let no = || Objection::Refusal("no".into());
    let doubt = || Objection::Doubt("perhaps".into());
    let rate = || Objection::Rate("much".into());
    let stated = player("firefox");
    let named = Capabilities::of(&PlayerQuery::default(), Some(FIREFOX)).expect("fine");
    let stranger = Capabilities::default();
    #[rustfmt::skip]
    let table = [
        // player, whether more is coming, what speaks against each stream, which are given
        (&stated, false, vec![Objection::None, no(), doubt()], "s0 s2"),
        (&named, false, vec![Objection::None, no(), doubt()], "s0 s2"),
        (&stranger, false, vec![Objection::None, no(), doubt()], "s0 s1 s2"),
        (&stated, false, vec![no(), no()], ""),
        (&named, false, vec![no(), no()], "s0 s1"),
        (&named, true, vec![no(), no()], ""),
        (&stranger, true, vec![no(), no()], "s0 s1"),
        // The later stream takes less of the network.
        (&stated, false, vec![rate(), rate()], "s1"),
        (&stated, false, vec![rate(), rate(), no()], "s1"),
        (&stated, false, vec![rate(), Objection::None], "s1"),
    ];
    for (client, coming, objections, given) in table {
        let what = format!("{client:?} {coming} {objections:?}");
        let offers = give(client, offers(&objections), coming);
        let names: Vec<&str> = offers
            .iter()
            .filter(|offer| offer.given)
            .map(|offer| offer.stream.as_str())
            .collect();
        assert_eq!(names.join(" "), given, "{what}");
    }
}

#[test]
fn the_master_playlist_has_what_is_given_and_nothing_else() {
    let mut index = shot("mkv", HIGH, "ac-3");
    let (mut facts, table) = (index.facts.tracks[1].clone(), index.tables[1].clone());
    facts.id = 3;
    facts.codec = "aac".into();
    facts.codecs = Some(LC.into());
    index.facts.tracks.push(facts);
    index.tables.push(table);
    let film = Film::new(index);
    let none = RenditionList::default();
    let content = crate::kernel::ContentId([1; 32]);
    let texts = |client: &Capabilities| {
        let decision = decide(client, &film, &none, false);
        let text = |master: hls::Master| match master {
            hls::Master::Text(text) => text,
            other => panic!("{other:?}"),
        };
        [
            text(film.master(&none, content, false, &decision)),
            text(film.manifest(&none, content, false, &decision)),
        ]
    };
    for text in texts(&player("vlc")) {
        assert!(text.contains("ac-3") && text.contains(LC), "{text}");
    }
    for text in texts(&player("firefox")) {
        assert!(!text.contains("ac-3") && text.contains(LC), "{text}");
    }
    let told = decide(&player("firefox"), &film, &none, false).told();
    let given: Vec<bool> = told.streams.iter().map(|stream| stream.given).collect();
    assert_eq!(given, [true, false, true]);
    let why = told.streams[1].reason.as_deref();
    assert_eq!(why, Some("Firefox does not take AC-3 sound"));

    let mut blind = player("firefox");
    blind.lines = Some(144);
    let decision = decide(&blind, &film, &none, false);
    let master = film.master(&none, content, false, &decision);
    assert_eq!(master, hls::Master::Nothing);
    let decision = decide(&blind, &film, &none, true);
    let master = film.master(&none, content, true, &decision);
    assert_eq!(master, hls::Master::Preparing);
}

//! Indexes that a broken worker, disk or stranger might have written: whatever is in them, nothing panics, and nothing
//! outside the object is asked for.

use nebula_hwaccel::index::{self, Copyable, Layout, MediaIndex};
use proptest::prelude::*;

use super::decide::{Capabilities, decide};
use super::film::Film;
use super::hls::{Master, RenditionList};
use super::packaged::Part;
use super::timeline::tests::film;
use crate::kernel::ContentId;

/// A film whose picture is gathered from packets, as in a transport stream, and whose sound lies in one piece each.
fn gathered() -> MediaIndex {
    let mut media = film(6, 25);
    let mut layout = Layout::new(true);
    let mut packet = 10u64;
    for sample in &mut media.tables[0] {
        let mut left = u64::from(sample.size);
        let mut start = None;
        while left > 0 {
            let bytes = left.min(184);
            let at = layout.append(packet * 188 + 4, bytes as u32);
            start = start.or(at.ok());
            left -= bytes;
            packet += 1;
        }
        let start = start.expect("a sample has bytes");
        let unit = start + 4..start + u64::from(sample.size);
        sample.size = layout
            .sample(std::slice::from_ref(&unit))
            .expect("it is inside");
        sample.offset = 0;
    }
    media.facts.tracks[0].copyable = Copyable::Gathered;
    // The sound lies behind the packets.
    media.facts.size_bytes = 1 << 20;
    media.layouts = vec![Some(layout), None];
    media
}

/// Everything that is ever made of an index; gives how many segments that was.
fn serve(media: MediaIndex) -> usize {
    let size = media.facts.size_bytes;
    let film = Film::new(media);
    let (none, content) = (RenditionList::default(), ContentId([7; 32]));
    let decision = decide(&Capabilities::default(), &film, &none, false);
    if let Master::Text(text) = film.master(&none, content, false, &decision) {
        assert!(text.starts_with("#EXTM3U"));
        let manifest = film.manifest(&none, content, false, &decision);
        assert!(matches!(manifest, Master::Text(_)));
    }
    let mut count = 0;
    for track in film.video.iter().chain(&film.audio) {
        assert!(!film.init(track).is_empty());
        assert!(film.copied_playlist(track, content).contains("#EXTINF"));
        let _ = film.key_playlist(track, content);
        for segment in &track.segments {
            let packaged = film.segment(track, segment.number).expect("it is listed");
            let sizes = packaged.parts.iter().map(Part::size_bytes);
            assert_eq!(sizes.sum::<u64>(), segment.size_bytes);
            for span in packaged.spans() {
                assert!(span.end <= size || size == 0, "{span:?} of {size}");
            }
            count += 1;
        }
    }
    count
}

#[test]
fn what_is_not_changed_is_served() {
    assert_eq!(serve(gathered()), 3 + 3);
}

proptest! {
    #[test]
    fn changed_indexes_never_panic_nor_reach_beyond_the_object(
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..8),
        plain: bool,
    ) {
        let media = if plain { film(6, 25) } else { gathered() };
        let mut bytes = index::encode(&media).expect("it is within the limits");
        let length = bytes.len();
        for (place, value) in changes {
            bytes[place % length] = value;
        }
        if let Ok(media) = index::decode(&bytes) {
            serve(media);
        }
    }
}

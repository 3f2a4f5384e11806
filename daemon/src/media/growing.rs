//! A film whose index grows: what of it no later sample can change, and its playlists so far.
//!
//! The grid follows from the samples before each cut alone, so a film that is read on has the same cuts and names.

use nebula_hwaccel::index::{Sample, TrackKind, VideoRange};

use super::film::{CopiedTrack, Film};
use super::hls::{settle, stream_of, tag};
use super::leaf::Leaf;
use super::playlist::{self, Entry, Head, Picture, Sound};
use crate::kernel::ContentId;

/// Target duration of a playlist that grows, in seconds, unless a segment is longer.
const TARGET_S: u64 = 4;

impl Film {
    /// How many segments of a track no later sample can change.
    ///
    /// A segment is settled when the next has begun; one of the picture, when a picture of the next was read that is shown after its key: those shown before it come first.
    pub fn settled(&self, track: &CopiedTrack) -> usize {
        let Some((last, before)) = track.segments.split_last() else {
            return 0;
        };
        let samples = self.index.tables[track.place]
            .get(last.samples.clone())
            .unwrap_or_default();
        let has_passed = match samples.split_first() {
            Some((key, after)) if matches!(self.facts_of(track).kind, TrackKind::Video(_)) => {
                after.iter().map(Sample::pts).any(|time| time > key.pts())
            }
            _ => true,
        };
        before.len().saturating_sub(usize::from(!has_passed))
    }

    /// Every track that is served from the object's own bytes.
    pub fn tracks(&self) -> impl Iterator<Item = &CopiedTrack> {
        self.video.iter().chain(&self.audio)
    }

    /// Whether what was settled in a shorter reading of the same object is the same here, so that a player can go on.
    pub fn continues(&self, shorter: &Self) -> bool {
        shorter.tracks().all(|old| {
            let settled = shorter.settled(old);
            let same = |new: &CopiedTrack| {
                new.segments.get(..settled) == old.segments.get(..settled)
                    && (settled == 0 || self.init(new) == shorter.init(old))
            };
            self.stream(&stream_of(shorter, old)).is_some_and(same)
        })
    }

    /// The master playlist of a film that arrives: the original alone; nothing where its picture or all its sound cannot be served from its own bytes.
    pub fn growing_master(&self, names: ContentId) -> Option<String> {
        let is_dumb = self.audio.is_empty() && self.sounds().next().is_some();
        if self.picture().is_some() && (self.video.is_none() || is_dumb) {
            return None;
        }
        let tag = tag(names);
        let uri = |track| format!("{}?c={tag}", Leaf::Playlist(stream_of(self, track)).name());
        let sounds = self.audio.iter();
        let mut sounds: Vec<Sound> = sounds
            .map(|track| self.original_sound(track, uri(track)))
            .collect();
        settle(&mut sounds);
        let pictures = match &self.video {
            Some(track) => vec![self.original_picture(track, uri(track))],
            None => sounds.drain(..).map(alone).collect(),
        };
        // Whether every segment can be decoded by itself is known at the end.
        (!pictures.is_empty())
            .then(|| playlist::master(&pictures, &sounds, &[], &[], &Head::default()))
    }

    /// The playlist of a track with so many of its segments: it grows at its end and changes nowhere else.
    pub fn growing_playlist(
        &self,
        track: &CopiedTrack,
        names: ContentId,
        listed: usize,
        has_ended: bool,
    ) -> String {
        let tag = tag(names);
        let stream = stream_of(self, track);
        let init_uri = format!("{}?c={tag}", Leaf::Init(stream.clone(), 0).name());
        let segments = track.segments.iter().take(listed);
        let entries: Vec<Entry> = segments
            .map(|segment| {
                let leaf = Leaf::Segment(stream.clone(), segment.number);
                Entry {
                    uri: format!("{}?c={tag}", leaf.name()),
                    duration_s: segment.duration_s,
                    init_uri: init_uri.clone(),
                }
            })
            .collect();
        // Of a film that is known whole, the longest that will come counts as well: the target never changes.
        let known = track.segments.iter();
        let longest_s = known.map(|segment| segment.duration_s.round() as u64).max();
        playlist::growing(&entries, longest_s.unwrap_or(0).max(TARGET_S), has_ended)
    }
}

/// Sound without a picture.
fn alone(sound: Sound) -> Picture {
    Picture {
        uri: sound.uri,
        codecs: sound.codecs,
        size: None,
        frame_rate: None,
        range: VideoRange::Sdr,
        bandwidth: sound.bandwidth,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::timeline::tests::film;
    use nebula_hwaccel::index::MediaIndex;

    /// The beginning of a film: so many pictures, and the sound up to the last of them and so many samples further.
    fn beginning(of: &MediaIndex, pictures: usize, further: usize) -> Film {
        let mut index = of.clone();
        index.tables[0].truncate(pictures);
        let end_s = pictures as f64 / 25.0;
        let sound = &mut index.tables[1];
        let heard = sound.partition_point(|sample| (sample.pts() as f64) < end_s * 48_000.0);
        sound.truncate(heard + further);
        Film::new(index)
    }

    #[test]
    fn what_is_settled_never_changes() {
        let index = film(20, 25);
        let whole = Film::new(index.clone());
        // Of a fragment's sound, the table that comes before its bytes tells one sample more.
        for further in 0..=1 {
            let mut listed = 0;
            for pictures in 1..index.tables[0].len() {
                let film = beginning(&index, pictures, further);
                assert!(whole.continues(&film), "{pictures} pictures");
                let track = film.stream("v1").expect("the picture");
                let now = film.settled(track);
                assert!(now >= listed, "{pictures} pictures");
                listed = now;
                let sound = film.stream("a2").expect("the sound");
                let heard = film.settled(sound);
                assert!(further == 0 || heard >= now, "{pictures} pictures");
            }
            assert_eq!(
                listed,
                whole.stream("v1").expect("a picture").segments.len() - 1
            );
        }
    }

    #[test]
    fn another_beginning_is_no_continuation() {
        let index = film(20, 25);
        let film_so_far = beginning(&index, 300, 0);
        let mut other = index;
        other.tables[0][50].key = false;
        assert!(!Film::new(other).continues(&film_so_far));
    }

    #[test]
    fn a_growing_playlist_reads_like_this() {
        let film = Film::new(film(9, 25));
        let track = film.stream("v1").expect("the picture");
        let names = ContentId([0xab; 32]);
        let text = film.growing_playlist(track, names, 2, false);
        assert_eq!(
            text,
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:0\n\
             #EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n\
             #EXT-X-START:TIME-OFFSET=0,PRECISE=YES\n#EXT-X-MAP:URI=\"v1-init.mp4?c=abababababababab\"\n\
             #EXTINF:2.000000,\nv1-0.m4s?c=abababababababab\n#EXTINF:2.000000,\nv1-1.m4s?c=abababababababab\n"
        );
        let ended = film.growing_playlist(track, names, usize::MAX, true);
        assert!(
            ended.ends_with("#EXTINF:1.000000,\nv1-3.m4s?c=abababababababab\n#EXT-X-ENDLIST\n"),
            "{ended}"
        );
    }
}

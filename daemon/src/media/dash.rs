//! A film as DASH (ISO/IEC 23009-1): one manifest over the segments that its HLS playlists name.

use std::fmt::Write as _;

use nebula_hwaccel::index::{AudioFacts, TrackFacts, TrackKind, VideoFacts, VideoRange};

use super::decide::Decision;
use super::film::{CopiedTrack, Film};
use super::hls::{self, Master, RenditionList, Whole};
use super::leaf::Leaf;
use super::playlist::{Bandwidth, Text};
use super::{language, sounds};
use crate::catalog::RenditionKind;
use crate::kernel::ContentId;

/// About what texts take, in bits per second: no player chooses by it.
const TEXT_BPS: u32 = 256;
/// How much a player should have before it starts, in seconds.
const BUFFER_S: f64 = 2.0;

/// One stream of a set.
struct Stream {
    name: String,
    codecs: String,
    bandwidth: Bandwidth,
    timescale: u64,
    /// Number and start in seconds of each segment.
    segments: Vec<(u32, f64)>,
    /// End of the last, in seconds.
    end_s: f64,
    /// Of a picture, in pixels.
    size: Option<(u32, u32)>,
    frame_rate: Option<String>,
    channels: Option<u32>,
}

/// Streams that a player may change between.
struct Set {
    attributes: String,
    inside: String,
    streams: Vec<Stream>,
}

impl Film {
    /// The manifest with the renditions that are there, on the same terms as the master playlist.
    pub fn manifest(
        &self,
        renditions: &RenditionList,
        content: ContentId,
        coming: bool,
        decision: &Decision,
    ) -> Master {
        match self.master(renditions, content, coming, decision) {
            Master::Text(_) => Master::Text(self.mpd(renditions, &hls::tag(content), decision)),
            other => other,
        }
    }

    fn mpd(&self, renditions: &RenditionList, tag: &str, decision: &Decision) -> String {
        let mut sets = self.picture_sets(renditions, decision);
        let copied = self.audio.iter();
        let copied = copied.filter(|track| decision.gives(&hls::stream_of(self, track)));
        sets.extend(copied.map(|track| self.sound_set(track)));
        let made = renditions.whole.iter();
        let made = made.filter(|whole| decision.gives(&whole.row.recipe));
        sets.extend(made.filter_map(|whole| self.made_sound_set(whole)));
        let ends = sets
            .iter()
            .flat_map(|set| &set.streams)
            .map(|stream| stream.end_s);
        let length_s = ends.fold(0.0, f64::max);
        let mut out = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" \
             type=\"static\" mediaPresentationDuration=\"PT{length_s:.3}S\" minBufferTime=\"PT{BUFFER_S:.1}S\">\n\
             <Period id=\"0\" start=\"PT0S\" duration=\"PT{length_s:.3}S\">\n"
        );
        for (id, set) in sets.iter().enumerate() {
            let _ = writeln!(
                out,
                "<AdaptationSet id=\"{id}\" segmentAlignment=\"true\" startWithSAP=\"1\"{}>{}",
                set.attributes, set.inside
            );
            for stream in &set.streams {
                stream.write(&mut out, tag);
            }
            out.push_str("</AdaptationSet>\n");
        }
        for (at, text) in renditions.texts.iter().enumerate() {
            write_text(&mut out, sets.len() + at, text);
        }
        out.push_str("</Period>\n</MPD>\n");
        out
    }

    /// A set for each codec and range, as players do not change between them without a break.
    fn picture_sets(&self, renditions: &RenditionList, decision: &Decision) -> Vec<Set> {
        let mut sets: Vec<(String, Set)> = Vec::new();
        let mut put = |range: VideoRange, stream: Stream| {
            let family = stream.codecs.split('.').next().unwrap_or("");
            let key = format!("{family} {range:?}");
            match sets.iter_mut().find(|(have, _)| *have == key) {
                Some((_, set)) => set.streams.push(stream),
                None => sets.push((
                    key,
                    Set {
                        attributes: " contentType=\"video\" mimeType=\"video/mp4\"".into(),
                        inside: transfer(range),
                        streams: vec![stream],
                    },
                )),
            }
        };
        if let Some(track) = &self.video
            && decision.gives(&hls::stream_of(self, track))
            && let TrackKind::Video(video) = &self.facts_of(track).kind
        {
            let mut stream = self.copied_stream(track);
            stream.size = Some((video.display_width, video.display_height));
            stream.frame_rate = frame_rate(video);
            put(video.range, stream);
        }
        for whole in &renditions.whole {
            if whole.row.kind() != RenditionKind::Video || !decision.gives(&whole.row.recipe) {
                continue;
            }
            if let Some(mut stream) = self.made_stream(whole, "avc1.64001f") {
                let side = |side: Option<i64>| u32::try_from(side.unwrap_or(0)).unwrap_or(0);
                stream.size = Some((side(whole.row.width), side(whole.row.height)));
                let rate = whole.row.frame_rate.filter(|rate| *rate > 0.0);
                stream.frame_rate = rate.map(|rate| format!("{:.0}/1000", rate * 1000.0));
                put(VideoRange::Sdr, stream);
            }
        }
        sets.into_iter().map(|(_, set)| set).collect()
    }

    fn sound_set(&self, track: &CopiedTrack) -> Set {
        let facts = self.facts_of(track);
        let mut stream = self.copied_stream(track);
        if let TrackKind::Audio(AudioFacts { channels, .. }) = &facts.kind {
            stream.channels = Some(u32::from(*channels));
        }
        sound_set(facts, stream)
    }

    fn made_sound_set(&self, whole: &Whole) -> Option<Set> {
        let facts = sounds::source(self, &whole.row.recipe)?;
        let mut stream = self.made_stream(whole, "mp4a.40.2")?;
        stream.channels = Some(2);
        Some(sound_set(facts, stream))
    }

    fn copied_stream(&self, track: &CopiedTrack) -> Stream {
        let segments = track.segments.iter();
        let last = track.segments.last();
        Stream {
            name: hls::stream_of(self, track),
            codecs: hls::codecs(self.facts_of(track)),
            bandwidth: hls::measured(track),
            timescale: u64::from(track.timescale()),
            segments: segments
                .map(|segment| (segment.number, segment.start_s))
                .collect(),
            end_s: last.map_or(0.0, |last| last.start_s + last.duration_s),
            size: None,
            frame_rate: None,
            channels: None,
        }
    }

    /// A rendition; nothing for one whose init segment changes on the way, which one period cannot say.
    fn made_stream(&self, whole: &Whole, usual: &str) -> Option<Stream> {
        if whole
            .segments
            .iter()
            .any(|segment| segment.init_number != 0)
        {
            return None;
        }
        let mut end_s = 0.0;
        let mut segments = Vec::with_capacity(whole.segments.len());
        for (segment, length_s) in whole.segments.iter().zip(self.durations_s(whole)) {
            segments.push((u32::try_from(segment.number).ok()?, end_s));
            end_s += length_s;
        }
        Some(Stream {
            name: whole.row.recipe.clone(),
            codecs: whole.row.codecs.clone().unwrap_or_else(|| usual.into()),
            bandwidth: self.measured_rendition(whole),
            timescale: u64::try_from(whole.row.timescale).ok()?.max(1),
            segments,
            end_s,
            size: None,
            frame_rate: None,
            channels: None,
        })
    }
}

impl Stream {
    fn write(&self, out: &mut String, tag: &str) {
        let _ = write!(
            out,
            "<Representation id=\"{}\" bandwidth=\"{}\" codecs=\"{}\"",
            escaped(&self.name),
            self.bandwidth.peak_bps.max(1),
            escaped(&self.codecs)
        );
        if let Some((width, height)) = self.size {
            let _ = write!(out, " width=\"{width}\" height=\"{height}\"");
        }
        if let Some(rate) = &self.frame_rate {
            let _ = write!(out, " frameRate=\"{rate}\"");
        }
        out.push_str(">\n");
        if let Some(channels) = self.channels {
            let _ = writeln!(
                out,
                "<AudioChannelConfiguration schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" \
                 value=\"{channels}\"/>"
            );
        }
        let first = self.segments.first().map_or(0, |(number, _)| *number);
        let in_order = self.segments.iter().enumerate();
        let counted = in_order
            .clone()
            .all(|(at, (number, _))| *number == first + at as u32);
        let (timescale, init) = (self.timescale, Leaf::Init(self.name.clone(), 0).name());
        if counted {
            let _ = writeln!(
                out,
                "<SegmentTemplate timescale=\"{timescale}\" initialization=\"{init}?c={tag}\" \
                 media=\"{}-$Number$.m4s?c={tag}\" startNumber=\"{first}\">",
                self.name
            );
            self.times(out);
            out.push_str("</SegmentTemplate>\n");
        } else {
            // Where sound pauses for whole segments, their numbers are left out.
            let _ = writeln!(
                out,
                "<SegmentList timescale=\"{timescale}\"><Initialization sourceURL=\"{init}?c={tag}\"/>"
            );
            self.times(out);
            for (number, _) in &self.segments {
                let leaf = Leaf::Segment(self.name.clone(), *number).name();
                let _ = writeln!(out, "<SegmentURL media=\"{leaf}?c={tag}\"/>");
            }
            out.push_str("</SegmentList>\n");
        }
        out.push_str("</Representation>\n");
    }

    /// When each segment starts and how long it is; equal lengths in one line.
    fn times(&self, out: &mut String) {
        let ticks = |seconds: f64| (seconds * self.timescale as f64).round() as u64;
        let starts = self.segments.iter().map(|(_, start_s)| ticks(*start_s));
        let starts: Vec<u64> = starts.chain([ticks(self.end_s)]).collect();
        let lengths: Vec<u64> = starts
            .windows(2)
            .map(|pair| pair[1].saturating_sub(pair[0]))
            .collect();
        out.push_str("<SegmentTimeline>");
        let mut at = 0;
        for equal in lengths.chunk_by(|a, b| a == b) {
            let _ = write!(out, "<S t=\"{}\" d=\"{}\"", starts[at], equal[0].max(1));
            if equal.len() > 1 {
                let _ = write!(out, " r=\"{}\"", equal.len() - 1);
            }
            out.push_str("/>");
            at += equal.len();
        }
        out.push_str("</SegmentTimeline>\n");
    }
}

/// What is told of a sound track is the same in whatever form it comes.
fn sound_set(facts: &TrackFacts, stream: Stream) -> Set {
    let mut inside = format!("<Label>{}</Label>", escaped(&sounds::label(facts)));
    if facts.default {
        inside.push_str("<Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"main\"/>");
    }
    let mut attributes = String::from(" contentType=\"audio\" mimeType=\"audio/mp4\"");
    if let Some(language) = facts.language.as_deref().map(language::tag) {
        let _ = write!(attributes, " lang=\"{}\"", escaped(&language));
    }
    Set {
        attributes,
        inside,
        streams: vec![stream],
    }
}

/// Texts are one file for the whole period.
fn write_text(out: &mut String, id: usize, text: &Text) {
    let _ = write!(
        out,
        "<AdaptationSet id=\"{id}\" contentType=\"text\" mimeType=\"text/vtt\""
    );
    if let Some(language) = &text.language {
        let _ = write!(out, " lang=\"{}\"", escaped(language));
    }
    let role = if text.forced {
        "forced-subtitle"
    } else if text.hearing {
        "caption"
    } else {
        "subtitle"
    };
    let mut roles = vec![role];
    if text.default {
        roles.push("main");
    }
    let _ = write!(out, "><Label>{}</Label>", escaped(&text.name));
    for role in roles {
        let _ = write!(
            out,
            "<Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"{role}\"/>"
        );
    }
    let _ = writeln!(
        out,
        "\n<Representation id=\"text-{id}\" bandwidth=\"{TEXT_BPS}\"><BaseURL>{}</BaseURL></Representation>\n</AdaptationSet>",
        escaped(&text.whole_uri)
    );
}

/// What says that a picture is of a high dynamic range: the transfer of ITU-T H.273.
fn transfer(range: VideoRange) -> String {
    let code = match range {
        VideoRange::Sdr => return String::new(),
        VideoRange::Pq => 16,
        VideoRange::Hlg => 18,
    };
    format!(
        "<EssentialProperty schemeIdUri=\"urn:mpeg:mpegB:cicp:TransferCharacteristics\" value=\"{code}\"/>"
    )
}

fn frame_rate(video: &VideoFacts) -> Option<String> {
    let rate = video.frame_rate;
    (rate.num > 0 && rate.den > 0).then(|| format!("{}/{}", rate.num, rate.den))
}

/// Text for an attribute or an element.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML has no way to hold them.
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::decide::{Capabilities, decide};
    use crate::media::timeline::tests::film;

    #[test]
    fn a_manifest_reads_like_this() {
        let mut index = film(10, 50);
        index.facts.tracks[1].title = Some("Director & <cut>".into());
        index.facts.tracks[1].language = Some("eng".into());
        let film = Film::new(index);
        let none = RenditionList::default();
        let decision = decide(&Capabilities::default(), &film, &none, false);
        let answer = film.manifest(&none, ContentId([0xab; 32]), false, &decision);
        let Master::Text(text) = answer else {
            panic!("{answer:?}")
        };
        assert!(
            text.contains("mediaPresentationDuration=\"PT10.0"),
            "{text}"
        );
        assert!(
            text.contains(
                "<SegmentTemplate timescale=\"12800\" initialization=\"v1-init.mp4?c=abababababababab\" \
                 media=\"v1-$Number$.m4s?c=abababababababab\" startNumber=\"0\">\n\
                 <SegmentTimeline><S t=\"0\" d=\"25600\" r=\"1\"/><S t=\"51200\" d=\"51200\"/><S t=\"102400\" d=\"25600\"/></SegmentTimeline>"
            ),
            "{text}"
        );
        assert!(
            text.contains("<Label>Director &amp; &lt;cut&gt;</Label>"),
            "{text}"
        );
        assert!(
            text.contains("frameRate=\"25/1\"") && text.contains(" lang=\"en\""),
            "{text}"
        );
    }

    #[test]
    fn left_out_numbers_are_listed() {
        let mut index = film(24, 50);
        // The sound pauses from 5 to 13 s: one segment of the grid has none.
        let sound = &mut index.tables[1];
        sound.retain(|sample| sample.dts < 5 * 48_000 || sample.dts > 13 * 48_000);
        let film = Film::new(index);
        let none = RenditionList::default();
        let decision = decide(&Capabilities::default(), &film, &none, false);
        let text = film.mpd(&none, "t", &decision);
        assert!(
            text.contains("<SegmentURL media=\"a2-2.m4s?c=t\"/>"),
            "{text}"
        );
        assert!(!text.contains("a2-3.m4s"), "{text}");
    }
}

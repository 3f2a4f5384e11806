//! What is made of a film for players that cannot take it as it is, and for slower networks.

use nebula_hwaccel::geometry;
use nebula_hwaccel::index::{TrackFacts, TrackKind, VideoFacts};
use nebula_hwaccel::protocol::{Acceleration, AudioSpec, LadderSpec, MAX_CUTS, Preset, RungSpec};

use super::film::Film;
use super::order::{Wanted, WantedShape};

/// Part of every recipe: raised when the encoder's settings or the cutting change, so that old segments are not mixed with new.
const RECIPE_VERSION: u32 = 1;
/// Of each software encoder; part of the recipe.
const ENCODER_THREADS: u8 = 2;
/// Rungs up to this short side are made of every source that is as tall: see ARCHITECTURE.md, "A rung as tall as its source".
const ALWAYS_MADE_LINES: u32 = 720;
/// A taller rung of the source's own size is worth it when the source takes this many times the rung's bits.
const SAME_SIZE_GAIN: f64 = 1.5;
/// Shorter films are not worth a ladder, in seconds.
const LADDER_S_MIN: f64 = 0.5;
/// Bits per pixel and second of a rung that the configuration does not name.
const BITS_PER_PIXEL_S: f64 = 2.0;
const BITRATE_BPS_MIN: u64 = 300_000;

/// One rung of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RungSetting {
    /// `720p`.
    pub name: String,
    /// Short side in pixels.
    pub height: u32,
    /// Ceiling of the picture's bit rate.
    pub video_bps: u64,
}

/// The rungs that are worth making of a film; empty when it needs none.
pub fn wanted(film: &Film, settings: &[RungSetting]) -> Vec<Wanted> {
    let Some(timeline) = &film.timeline else {
        return Vec::new();
    };
    if timeline.total_s() < LADDER_S_MIN || timeline.cuts.len() > MAX_CUTS {
        return Vec::new();
    }
    let mut wanted = Vec::new();
    if let Some(track) = film.picture()
        && let TrackKind::Video(picture) = &track.kind
    {
        let served = film.video.is_some() && plays_everywhere(track);
        wanted.extend(rungs(track, picture, settings, served));
    }
    wanted
}

/// A rung that will be made of a film.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Its key in the cache.
    pub recipe: String,
    /// `720p`.
    pub name: String,
    /// In pixels, as shown.
    pub width: u32,
    /// In pixels.
    pub height: u32,
}

/// The pictures among [`wanted`], with their sizes.
pub fn planned(film: &Film, settings: &[RungSetting]) -> Vec<Planned> {
    let Some(TrackKind::Video(picture)) = film.picture().map(|track| &track.kind) else {
        return Vec::new();
    };
    let shown = (picture.display_width.max(1), picture.display_height.max(1));
    let sized = |one: Wanted| match one.shape {
        WantedShape::Video { height, .. } => {
            let (width, height) = geometry::rung(shown, height)?;
            Some(Planned {
                recipe: one.recipe,
                name: one.name,
                width,
                height,
            })
        }
        WantedShape::Audio { .. } => None,
    };
    wanted(film, settings)
        .into_iter()
        .filter_map(sized)
        .collect()
}

fn rungs(
    track: &TrackFacts,
    picture: &VideoFacts,
    settings: &[RungSetting],
    served: bool,
) -> Vec<Wanted> {
    let shown = (picture.display_width.max(1), picture.display_height.max(1));
    let short = shown.0.min(shown.1);
    let fits = |rung: &&RungSetting| {
        geometry::rung(shown, rung.height).is_some()
            && (rung.height < short
                || rung.height <= ALWAYS_MADE_LINES
                || !served
                || track.bitrate_bps as f64 > rung.video_bps as f64 * SAME_SIZE_GAIN)
    };
    let mut rungs: Vec<RungSetting> = settings.iter().filter(fits).cloned().collect();
    if rungs.is_empty() && !served && short >= 2 {
        // Smaller than every rung, and nobody can play it as it is.
        let height = short & !1;
        let pixels = f64::from(shown.0) * f64::from(shown.1);
        rungs.push(RungSetting {
            name: format!("{height}p"),
            height,
            video_bps: ((pixels * BITS_PER_PIXEL_S) as u64).max(BITRATE_BPS_MIN),
        });
    }
    rungs
        .into_iter()
        .map(|rung| {
            let settings = format!(
                "{}/{}/{}/{ENCODER_THREADS}",
                rung.name, rung.height, rung.video_bps
            );
            Wanted {
                recipe: recipe(&rung.name, &settings),
                name: rung.name,
                shape: WantedShape::Video {
                    height: rung.height,
                    bitrate_bps_max: rung.video_bps,
                },
            }
        })
        .collect()
}

/// Whether every player that takes HLS takes this codec.
pub fn plays_everywhere(track: &TrackFacts) -> bool {
    match &track.kind {
        TrackKind::Video(picture) => {
            track.codec == "h264"
                && picture.bit_depth <= 8
                && !picture.pixel_format.contains("444")
                && !picture.pixel_format.contains("422")
        }
        TrackKind::Audio(_) => match track.codec.as_str() {
            // xHE-AAC and its like are AAC by name alone.
            "aac" => track
                .codecs
                .as_deref()
                .is_none_or(|codecs| matches!(codecs, "mp4a.40.2" | "mp4a.40.5" | "mp4a.40.29")),
            "mp3" => true,
            _ => false,
        },
        TrackKind::Subtitle { .. } => false,
    }
}

/// A name in addresses and the key of the cache in one word.
pub(super) fn recipe(name: &str, settings: &str) -> String {
    let hash = blake3::hash(format!("{RECIPE_VERSION}/{settings}").as_bytes()).to_hex();
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{name}-{}", &hash[..8])
}

/// What a worker is told to encode; `first` is the first segment that is missing somewhere.
///
/// Messages come back under the recipe, which is unique, rather than under the name.
pub fn spec(film: &Film, wanted: &[Wanted], first: u32) -> Option<LadderSpec> {
    let timeline = film.timeline.as_ref()?;
    let mut rungs = Vec::new();
    let mut audio = None;
    for one in wanted {
        match &one.shape {
            WantedShape::Video {
                height,
                bitrate_bps_max,
            } => rungs.push(RungSpec {
                name: one.recipe.clone(),
                height: *height,
                bitrate_bps_max: *bitrate_bps_max,
            }),
            WantedShape::Audio { track, bitrate_bps } => {
                audio = Some(AudioSpec {
                    name: one.recipe.clone(),
                    track: *track,
                    bitrate_bps: *bitrate_bps,
                });
            }
        }
    }
    let video_track = if rungs.is_empty() {
        None
    } else {
        Some(film.picture()?.id)
    };
    Some(LadderSpec {
        video_track,
        rungs,
        audio,
        time_base: timeline.time_base,
        cuts: timeline.cuts.clone(),
        origin: timeline.origin,
        first_segment: first,
        acceleration: Acceleration::Software,
        preset: Preset::Veryfast,
        encoder_threads: ENCODER_THREADS,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::timeline::tests::film;

    fn settings() -> Vec<RungSetting> {
        let rung = |height: u32, video_bps| RungSetting {
            name: format!("{height}p"),
            height,
            video_bps,
        };
        vec![
            rung(1080, 5_000_000),
            rung(720, 2_800_000),
            rung(480, 1_200_000),
        ]
    }

    fn tall(lines: u32, bitrate_bps: u64) -> nebula_hwaccel::index::MediaIndex {
        let mut index = film(10, 25);
        index.facts.tracks[0].bitrate_bps = bitrate_bps;
        if let TrackKind::Video(picture) = &mut index.facts.tracks[0].kind {
            (picture.display_width, picture.display_height) = (lines * 16 / 9, lines);
        }
        index
    }

    fn names(index: nebula_hwaccel::index::MediaIndex) -> Vec<String> {
        wanted(&Film::new(index), &settings())
            .into_iter()
            .map(|one| one.name)
            .collect()
    }

    #[test]
    fn a_lean_source_gets_the_rungs_up_to_720_lines() {
        assert_eq!(names(tall(1080, 2_000_000)), ["720p", "480p"]);
        assert_eq!(names(tall(720, 1_000_000)), ["720p", "480p"]);
        assert_eq!(names(tall(480, 500_000)), ["480p"]);
        assert!(names(tall(360, 500_000)).is_empty());
    }

    #[test]
    fn a_fat_tall_source_gets_a_slim_rung_of_its_size() {
        assert_eq!(names(tall(1080, 20_000_000)), ["1080p", "720p", "480p"]);
    }

    #[test]
    fn what_few_players_take_is_made_whole() {
        let mut index = film(10, 25);
        index.facts.tracks[0].codec = "mpeg2video".into();
        assert_eq!(names(index), ["720p", "480p"]);
    }

    #[test]
    fn a_small_strange_film_gets_a_rung_of_its_own() {
        let mut index = film(10, 25);
        index.facts.tracks[0].codec = "mpeg4".into();
        if let TrackKind::Video(picture) = &mut index.facts.tracks[0].kind {
            (picture.display_width, picture.display_height) = (321, 241);
        }
        assert_eq!(names(index), ["240p"]);
    }

    #[test]
    fn a_recipe_is_one_word_that_knows_its_settings() {
        let first = recipe("720p", "a");
        assert_ne!(first, recipe("720p", "b"));
        assert!(first.starts_with("720p-") && first.len() == 13, "{first}");
    }
}

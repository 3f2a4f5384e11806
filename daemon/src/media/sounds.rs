//! Sound in a master playlist: every track in every group, so that a viewer's choice survives a change of group.
//!
//! One group is for everyone: each track as it lies in the object where every player takes it, else as the AAC that a
//! job made of it. Each other codec has a group of its own, with the tracks in that codec as they are and the rest as
//! everyone gets them. Names and languages are the same in all groups (RFC 8216bis §4.4.6.1.1).

use nebula_hwaccel::index::TrackFacts;
use nebula_hwaccel::protocol::LadderSpec;

use super::film::{CopiedTrack, Film};
use super::hls::{Whole, stream_of};
use super::ladder::{plays_everywhere, recipe};
use super::order::{Wanted, WantedShape};
use super::playlist::{Bandwidth, Sound};
use super::{language, texts};

/// Sound for everyone.
const AUDIO_BPS: u64 = 128_000;
/// Tracks of one film that AAC is made of.
const MADE_MAX: usize = 16;
/// Shorter films are not worth a job, in seconds.
const SOUND_S_MIN: f64 = 0.5;
/// The group whose sounds every player takes.
const EVERYONE: &str = "mp4a";

/// The AAC tracks that are worth making of a film, a job for each: one for each track that not every player takes.
pub fn wanted(film: &Film) -> Vec<Wanted> {
    let grid = film.timeline.as_ref();
    if grid.is_none_or(|grid| grid.total_s() < SOUND_S_MIN) {
        return Vec::new();
    }
    let tracks = film.sounds().filter(|track| served(film, track).is_none());
    tracks.take(MADE_MAX).map(made_of).collect()
}

/// Whether an order is for sound alone, which needs no GPU.
pub fn is_sound(spec: &LadderSpec) -> bool {
    spec.video_track.is_none()
}

/// The track that a rendition was made of.
pub fn source<'f>(film: &'f Film, recipe: &str) -> Option<&'f TrackFacts> {
    film.sounds().find(|track| made_of(track).recipe == recipe)
}

fn made_of(track: &TrackFacts) -> Wanted {
    Wanted {
        recipe: recipe("audio", &format!("aac/{}/{AUDIO_BPS}", track.id)),
        name: format!("audio-{}", track.id),
        shape: WantedShape::Audio {
            track: track.id,
            bitrate_bps: AUDIO_BPS,
        },
    }
}

/// A sound track as a viewer chooses it.
pub struct Choice<'f> {
    /// The track of the object.
    pub track: &'f TrackFacts,
    /// For people; no two are the same.
    pub name: String,
    /// Chosen when the viewer does not choose.
    pub default: bool,
    /// The rendition that is made of it for everyone; `None` where every player takes it as it lies in the object.
    pub recipe: Option<String>,
}

/// The sounds of a film, as every group of a master playlist names them once they are made.
pub fn choices(film: &Film) -> Vec<Choice<'_>> {
    let default = film.sounds().position(|track| track.default).unwrap_or(0);
    let tracks = film.sounds().zip(names(film)).enumerate();
    tracks
        .map(|(at, (track, name))| Choice {
            track,
            name,
            default: at == default,
            recipe: match served(film, track) {
                Some(_) => None,
                None => Some(made_of(track).recipe),
            },
        })
        .collect()
}

/// The track as it lies in the object, where every player takes it.
fn served<'f>(film: &'f Film, track: &TrackFacts) -> Option<&'f CopiedTrack> {
    film.copied(track.id).filter(|_| plays_everywhere(track))
}

/// Every sound of a master playlist; `gives` says which streams the player is offered, `uri` where a stream's playlist is.
pub fn of(
    film: &Film,
    renditions: &[Whole],
    gives: impl Fn(&str) -> bool,
    uri: impl Fn(&str) -> String,
) -> Vec<Sound> {
    let original = |track: &TrackFacts| {
        let copied = film.copied(track.id)?;
        let stream = stream_of(film, copied);
        gives(&stream).then(|| film.original_sound(copied, uri(&stream)))
    };
    let remade = |track: &TrackFacts| {
        let recipe = made_of(track).recipe;
        let whole = renditions.iter().find(|whole| whole.row.recipe == recipe)?;
        gives(&recipe).then(|| made(track, whole, uri(&recipe)))
    };
    let tracks: Vec<Choices> = film
        .sounds()
        .zip(names(film))
        .map(|(track, name)| {
            let named = |mut sound: Sound| {
                sound.name.clone_from(&name);
                sound
            };
            let as_it_is = original(track).map(named);
            let everyone = match served(film, track) {
                Some(_) => as_it_is.clone(),
                None => remade(track).map(named),
            };
            Choices { everyone, as_it_is }
        })
        .collect();
    let mut sounds = group(EVERYONE, &tracks, |choices| choices.everyone.clone());
    let mut codecs: Vec<&str> = Vec::new();
    for choices in &tracks {
        // What everyone takes has its place already.
        let own = choices.as_it_is.as_ref();
        let own = own.filter(|_| choices.everyone != choices.as_it_is);
        if let Some(sound) = own
            && !codecs.contains(&sound.group.as_str())
        {
            codecs.push(&sound.group);
        }
    }
    for codec in codecs {
        sounds.extend(group(codec, &tracks, |choices| {
            let own = choices.as_it_is.as_ref();
            own.filter(|sound| sound.group == codec)
                .or(choices.everyone.as_ref())
                .cloned()
        }));
    }
    sounds
}

/// One track in the forms there are of it; the group of each is that of its codec.
struct Choices {
    everyone: Option<Sound>,
    as_it_is: Option<Sound>,
}

/// The tracks of one group: exactly one is the default.
fn group(name: &str, tracks: &[Choices], choose: impl Fn(&Choices) -> Option<Sound>) -> Vec<Sound> {
    let mut sounds: Vec<Sound> = tracks.iter().filter_map(choose).collect();
    let default = sounds.iter().position(|sound| sound.default).unwrap_or(0);
    for (at, sound) in sounds.iter_mut().enumerate() {
        name.clone_into(&mut sound.group);
        sound.default = at == default;
    }
    sounds
}

/// What a sound track is called.
pub fn label(track: &TrackFacts) -> String {
    let plain = format!("Track {}", track.id);
    texts::label(track.title.as_deref(), track.language.as_deref(), &plain)
}

/// For people, and no name twice.
fn names(film: &Film) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for track in film.sounds() {
        let label = label(track);
        let mut name = label.clone();
        let mut count = 1;
        while names.contains(&name) {
            count += 1;
            name = format!("{label} {count}");
        }
        names.push(name);
    }
    names
}

/// AAC made by a worker: stereo, for everyone.
fn made(track: &TrackFacts, whole: &Whole, uri: String) -> Sound {
    let tick_s = 1.0 / whole.row.timescale.max(1) as f64;
    let lengths = whole.segments.iter().map(|segment| {
        (
            segment.size_bytes.max(0) as u64,
            segment.duration_ticks as f64 * tick_s,
        )
    });
    Sound {
        group: EVERYONE.into(),
        name: label(track),
        language: track.language.as_deref().map(language::tag),
        default: track.default,
        channels: 2,
        uri,
        codecs: whole
            .row
            .codecs
            .clone()
            .unwrap_or_else(|| "mp4a.40.2".into()),
        bandwidth: Bandwidth::measured(lengths),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::timeline::tests::film;

    /// A film with sound tracks of these codecs, languages and defaults.
    fn with(tracks: &[(&str, &str, bool)]) -> Film {
        let mut index = film(10, 25);
        let (facts, table) = (index.facts.tracks[1].clone(), index.tables[1].clone());
        index.facts.tracks.truncate(1);
        index.tables.truncate(1);
        for (at, (codec, language, default)) in tracks.iter().enumerate() {
            let codecs = match *codec {
                "aac" => Some("mp4a.40.2".to_owned()),
                "ac3" => Some("ac-3".to_owned()),
                _ => None,
            };
            index.facts.tracks.push(TrackFacts {
                id: at as u32 + 2,
                codec: (*codec).into(),
                codecs,
                language: Some((*language).into()),
                default: *default,
                ..facts.clone()
            });
            index.tables.push(table.clone());
        }
        Film::new(index)
    }

    fn told(film: &Film) -> Vec<String> {
        let sounds = of(film, &[], |_| true, str::to_owned);
        let line = |sound: &Sound| {
            let star = if sound.default { "*" } else { "" };
            format!("{} {}{star} {}", sound.group, sound.name, sound.uri)
        };
        sounds.iter().map(line).collect()
    }

    #[test]
    fn tracks_of_one_codec_are_one_group() {
        let film = with(&[
            ("aac", "eng", false),
            ("aac", "ger", true),
            ("aac", "eng", false),
        ]);
        assert_eq!(
            told(&film),
            ["mp4a English a2", "mp4a Deutsch* a3", "mp4a English 2 a4"]
        );
        assert!(wanted(&film).is_empty());
    }

    #[test]
    fn every_group_has_every_track() {
        let film = with(&[("ac3", "eng", true), ("aac", "fre", false)]);
        assert_eq!(
            told(&film),
            ["mp4a Français* a3", "ac-3 English* a2", "ac-3 Français a3"]
        );
        let names: Vec<String> = wanted(&film).into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["audio-2"]);
    }

    #[test]
    fn each_track_that_few_players_take_is_made_anew() {
        let film = with(&[("ac3", "eng", true), ("dts", "ger", false)]);
        let wanted = wanted(&film);
        assert_eq!(wanted.len(), 2);
        assert_ne!(wanted[0].recipe, wanted[1].recipe);
        let made = source(&film, &wanted[1].recipe).map(|track| track.id);
        assert_eq!(made, Some(3));
        let choices = choices(&film);
        let recipes: Vec<_> = choices.iter().flat_map(|one| &one.recipe).collect();
        assert!(recipes.into_iter().eq(wanted.iter().map(|one| &one.recipe)));
        let told: Vec<_> = choices
            .iter()
            .map(|one| (&*one.name, one.default))
            .collect();
        assert_eq!(told, [("English", true), ("Deutsch", false)]);
    }
}

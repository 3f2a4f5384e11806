//! Direct, remux, audio or transcode: one decision, with its reason, for a player and a film.
//!
//! What a player takes is a [`Capabilities`], from what it states, from its name or, for a stranger, from what browsers
//! take. [`decide`] weighs every stream that there is of a film against it: the mode and its reason are told by the JSON
//! API and `nebula play --explain`, and the streams that it gives are what the master playlist and the manifest list.
//!
//! A guess never leaves a player with nothing: who is known by name alone is offered all that there is rather than
//! nothing, and a stranger always is.

mod codec;
mod player;

use nebula_api::{KnownBy, Playback, PlaybackMode, PlaybackStream};
use nebula_hwaccel::index::{TrackFacts, TrackKind, VideoRange};

use super::film::{CopiedTrack, Film};
use super::hls::{self, RenditionList, Whole};
use crate::catalog::RenditionKind;
use codec::Codec;
use player::Takes;

pub use player::Capabilities;

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What happens to the bytes.
    pub mode: PlaybackMode,
    /// Why, in one sentence.
    pub reason: String,
    player: String,
    known_by: KnownBy,
    offers: Vec<Offer>,
}

/// A stream, and what speaks against it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Offer {
    /// Its name in addresses.
    stream: String,
    /// For people.
    name: String,
    is_sound: bool,
    codecs: String,
    size: Option<(u32, u32)>,
    bitrate_bps: u64,
    objection: Objection,
    given: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Objection {
    None,
    /// It may be taken all the same.
    Doubt(String),
    /// It is too much for the network.
    Rate(String),
    /// It is not taken.
    Refusal(String),
}

impl Objection {
    fn text(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Doubt(text) | Self::Rate(text) | Self::Refusal(text) => Some(text),
        }
    }

    fn of(takes: Takes) -> Self {
        match takes {
            Takes::Yes => Self::None,
            Takes::Maybe(why) => Self::Doubt(why),
            Takes::No(why) => Self::Refusal(why),
        }
    }
}

impl Decision {
    /// Whether the player's master playlist has a stream.
    pub fn gives(&self, stream: &str) -> bool {
        let mut offers = self.offers.iter();
        offers.any(|offer| offer.stream == stream && offer.given)
    }

    /// Without the streams, as the list of viewers tells it.
    pub fn brief(&self) -> Playback {
        Playback {
            mode: self.mode,
            reason: self.reason.clone(),
            player: self.player.clone(),
            known_by: self.known_by,
            streams: Vec::new(),
        }
    }

    /// All of it.
    pub fn told(&self) -> Playback {
        let told = |offer: &Offer| PlaybackStream {
            stream: offer.stream.clone(),
            name: offer.name.clone(),
            kind: if offer.is_sound {
                nebula_api::TrackKind::Audio
            } else {
                nebula_api::TrackKind::Video
            },
            codecs: offer.codecs.clone(),
            width: offer.size.map(|size| size.0),
            height: offer.size.map(|size| size.1),
            bitrate_bps: offer.bitrate_bps,
            given: offer.given,
            reason: offer.objection.text().map(str::to_owned),
        };
        Playback {
            streams: self.offers.iter().map(told).collect(),
            ..self.brief()
        }
    }
}

/// How a film reaches a player, and which of its streams are given to it.
///
/// `coming` says that renditions are being made: then a player is better asked to wait than given what it cannot play.
pub fn decide(
    client: &Capabilities,
    film: &Film,
    renditions: &RenditionList,
    coming: bool,
) -> Decision {
    let (mode, reason) = mode(client, film);
    let mut offers = Vec::new();
    offers.extend(film.video.iter().map(|track| copied(client, film, track)));
    let made = |kind: RenditionKind| {
        let whole = renditions.whole.iter();
        whole.filter(move |whole| whole.row.kind() == kind)
    };
    offers.extend(made(RenditionKind::Video).map(|whole| rung(client, film, whole)));
    offers.extend(film.audio.iter().map(|track| copied(client, film, track)));
    offers.extend(made(RenditionKind::Audio).map(|whole| rung(client, film, whole)));
    let (pictures, sounds): (Vec<_>, Vec<_>) = offers.into_iter().partition(|one| !one.is_sound);
    let offers = [pictures, sounds]
        .into_iter()
        .flat_map(|offers| give(client, offers, coming))
        .collect();
    Decision {
        mode,
        reason,
        player: client.player.clone(),
        known_by: client.known_by,
        offers,
    }
}

/// Of streams of one kind, those that are given.
fn give(client: &Capabilities, mut offers: Vec<Offer>, coming: bool) -> Vec<Offer> {
    let takes = |objection: &Objection| matches!(objection, Objection::None | Objection::Doubt(_));
    let mut any = false;
    for offer in &mut offers {
        offer.given = takes(&offer.objection);
        any |= offer.given;
    }
    if !any {
        // Too much for the network is better than nothing, and the least of it is best.
        let rated = offers
            .iter_mut()
            .filter(|offer| matches!(offer.objection, Objection::Rate(_)));
        if let Some(least) = rated.min_by_key(|offer| offer.bitrate_bps) {
            least.given = true;
            any = true;
        }
    }
    let all = match client.known_by {
        KnownBy::Stated => false,
        KnownBy::UserAgent => !any && !coming,
        KnownBy::Assumed | KnownBy::Other => true,
    };
    if all {
        for offer in &mut offers {
            offer.given = true;
        }
    }
    offers
}

/// A track of the object itself.
fn copied(client: &Capabilities, film: &Film, track: &CopiedTrack) -> Offer {
    let facts = film.facts_of(track);
    let bitrate_bps = hls::measured(track).average_bps;
    let (name, size, objection) = match &facts.kind {
        TrackKind::Video(picture) => {
            let size = (picture.display_width, picture.display_height);
            let refused = picture_objection(client, facts).unwrap_or(Objection::None);
            ("original".to_owned(), Some(size), refused)
        }
        _ => {
            let title = facts.title.clone().or_else(|| facts.language.clone());
            let name = title.unwrap_or_else(|| format!("Track {}", facts.id));
            let objection = Objection::of(client.hears(&Codec::of(facts)));
            (name, None, objection)
        }
    };
    Offer {
        stream: hls::stream_of(film, track),
        name,
        is_sound: size.is_none(),
        codecs: hls::codecs(facts),
        size,
        bitrate_bps,
        objection: within_rate(client, bitrate_bps, size.is_some(), objection),
        given: false,
    }
}

/// What a worker made.
fn rung(client: &Capabilities, film: &Film, whole: &Whole) -> Offer {
    let side = |side: Option<i64>| u32::try_from(side.unwrap_or(0)).unwrap_or(0);
    let is_sound = whole.row.kind() == RenditionKind::Audio;
    let size = (!is_sound).then(|| (side(whole.row.width), side(whole.row.height)));
    let usual = if is_sound { "mp4a.40.2" } else { "avc1.64001f" };
    let codecs = whole.row.codecs.clone().unwrap_or_else(|| usual.into());
    let codec = Codec::parse(&codecs).unwrap_or_default();
    let takes = if is_sound {
        client.hears(&codec)
    } else {
        client.sees(&codec)
    };
    let mut objection = Objection::of(takes);
    if let (Some(size), Objection::None | Objection::Doubt(_)) = (size, &objection)
        && let Some(large) = too_large(client, size)
    {
        objection = Objection::Refusal(large);
    }
    let bitrate_bps = film.measured_rendition(whole).average_bps;
    Offer {
        stream: whole.row.recipe.clone(),
        name: whole.row.name.clone(),
        is_sound,
        codecs,
        size,
        bitrate_bps,
        objection: within_rate(client, bitrate_bps, !is_sound, objection),
        given: false,
    }
}

fn within_rate(
    client: &Capabilities,
    bitrate_bps: u64,
    is_picture: bool,
    objection: Objection,
) -> Objection {
    match client.bitrate_bps {
        Some(limit)
            if is_picture && bitrate_bps > limit && !matches!(objection, Objection::Refusal(_)) =>
        {
            Objection::Rate(over_rate(client, bitrate_bps, limit))
        }
        _ => objection,
    }
}

fn over_rate(client: &Capabilities, bitrate_bps: u64, limit: u64) -> String {
    format!(
        "it takes {} and {} reach {}",
        rate(bitrate_bps),
        rate(limit),
        client.player
    )
}

fn picture_objection(client: &Capabilities, facts: &TrackFacts) -> Option<Objection> {
    let TrackKind::Video(picture) = &facts.kind else {
        return None;
    };
    let objection = Objection::of(client.sees(&Codec::of(facts)));
    if matches!(objection, Objection::Refusal(_)) {
        return Some(objection);
    }
    if picture.range != VideoRange::Sdr && !client.hdr {
        return Some(Objection::Refusal(format!(
            "{} shows no HDR",
            client.player
        )));
    }
    let size = (picture.display_width, picture.display_height);
    Some(too_large(client, size).map_or(objection, Objection::Refusal))
}

fn too_large(client: &Capabilities, size: (u32, u32)) -> Option<String> {
    let (lines, limit) = (size.0.min(size.1), client.lines?);
    (lines > limit).then(|| {
        format!(
            "the picture has {lines} lines and {} shows {limit}",
            client.player
        )
    })
}

/// The mode, and why: for who would be given the original if it can be.
fn mode(client: &Capabilities, film: &Film) -> (PlaybackMode, String) {
    let facts = &film.index.facts;
    let picture = film.picture();
    if let Some(track) = picture
        && let Some(reason) = picture_objection(client, track).and_then(|one| {
            let text = one.text()?;
            Some(text.to_owned())
        })
    {
        return (PlaybackMode::Transcode, reason);
    }
    if let Some(limit) = client.bitrate_bps
        && facts.bitrate_bps > limit
    {
        return (
            PlaybackMode::Transcode,
            over_rate(client, facts.bitrate_bps, limit),
        );
    }
    let heard = |track: &TrackFacts| client.hears(&Codec::of(track));
    let all: Vec<Takes> = film.sounds().map(heard).collect();
    if let Some(Takes::Maybe(why) | Takes::No(why)) = all.first()
        && !all.contains(&Takes::Yes)
    {
        let mode = if picture.is_some() {
            PlaybackMode::Audio
        } else {
            PlaybackMode::Transcode
        };
        return (mode, format!("{why}, so it is made anew as AAC"));
    }
    let (player, container) = (&client.player, &facts.container);
    if client.opens(container) {
        return (
            PlaybackMode::Direct,
            format!("{player} takes {container} with these codecs as it is"),
        );
    }
    let copied =
        picture.is_none_or(|_| film.video.is_some()) && (all.is_empty() || !film.audio.is_empty());
    if copied {
        return (
            PlaybackMode::Remux,
            format!("{player} takes the codecs but not {container} files"),
        );
    }
    (
        PlaybackMode::Transcode,
        format!("the samples of this {container} cannot be served as they lie there"),
    )
}

fn rate(bps: u64) -> String {
    format!("{:.1} Mbit/s", bps as f64 / 1e6)
}

#[cfg(test)]
mod tests;

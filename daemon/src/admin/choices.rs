//! What a viewer can choose of a film: sounds, subtitles, chapters, and the storyboard.

use nebula_api::{
    Asset, Chapter, RenditionState, Sound, Storyboard, SubtitleFormat, Subtitles, routes,
};

use super::AdminParts;
use super::assets::problem;
use super::renditions;
use crate::catalog::{RenditionRow, RenditionTally};
use crate::http::Problem;
use crate::identity::{Action, Caller, Resource};
use crate::media::texts::{self, PictureFormat, TextStream};
use crate::media::{Film, chapters, language, sounds, storyboard};
use crate::store::Object;

/// What was made of a film.
struct Made {
    rows: Vec<RenditionRow>,
    tallies: Vec<RenditionTally>,
}

impl Made {
    /// How far a rendition is; `None` for one that nobody began.
    fn state(&self, recipe: &str) -> Result<Option<RenditionState>, Problem> {
        let Some(row) = self.rows.iter().find(|row| row.recipe == recipe) else {
            return Ok(None);
        };
        let is_of = |tally: &RenditionTally| tally.recipe == recipe && tally.segments > 0;
        renditions::state(row, self.tallies.iter().any(is_of)).map(Some)
    }
}

/// Fills in what there is to choose.
pub(super) async fn offer(
    parts: &AdminParts,
    caller: &Caller,
    object: &Object,
    film: &Film,
    asset: &mut Asset,
) -> Result<(), Problem> {
    let (catalog, content) = (parts.store.catalog(), object.content_id);
    let made = Made {
        rows: catalog.renditions(content).await?,
        tallies: catalog.rendition_tallies(content).await?,
    };
    let beside = |name: &str| routes::hls_part(&asset.bucket, &asset.key, name);
    let coming = sounds::wanted(film);
    for choice in sounds::choices(film) {
        let state = match &choice.recipe {
            None => RenditionState::Ready,
            Some(recipe) => match made.state(recipe)? {
                Some(state) => state,
                None if coming.iter().any(|one| one.recipe == *recipe) => RenditionState::Pending,
                None => RenditionState::Failed,
            },
        };
        asset.sounds.push(Sound {
            track: choice.track.id,
            language: choice.track.language.as_deref().map(language::tag),
            name: choice.name,
            default: choice.default,
            original: choice.recipe.is_none(),
            state,
        });
    }
    asset.subtitles = subtitles(parts, caller, object, film, beside).await?;
    let ms = |us: i64| u64::try_from(us / 1000).unwrap_or(0);
    let chapters = chapters::of(film).into_iter().map(|chapter| Chapter {
        title: chapter.text,
        start_ms: ms(chapter.start_us),
        end_ms: ms(chapter.end_us),
    });
    asset.chapters = chapters.collect();
    let state = made.state(storyboard::RECIPE)?;
    let state = state.unwrap_or(RenditionState::Pending);
    asset.storyboard = storyboard::plan(film)
        .filter(|_| state != RenditionState::Failed)
        .map(|_| Storyboard {
            state,
            url: beside("storyboard.vtt"),
        });
    Ok(())
}

/// Texts of the film's own tracks and of files beside it, and behind them the tracks of pictures.
async fn subtitles(
    parts: &AdminParts,
    caller: &Caller,
    object: &Object,
    film: &Film,
    beside: impl Fn(&str) -> String,
) -> Result<Vec<Subtitles>, Problem> {
    let media = &parts.media;
    let mut streams = media.texts(film, object).await.map_err(problem)?;
    for (key, named) in media.beside(object).await.map_err(problem)? {
        let resource = Resource::Object(&object.bucket, &key);
        let identity = &parts.identity;
        let decision = identity.decide(caller, Action::ReadObject, &resource).await;
        if !decision?.allow {
            continue;
        }
        let content = media.beside_content(object, &key).await.map_err(problem)?;
        if let Some(content) = content
            && media.is_read(content).await.map_err(problem)?
        {
            streams.push(TextStream::beside(content, named));
        }
    }
    let texts = streams.len();
    let (pictures, formats): (Vec<TextStream>, Vec<PictureFormat>) =
        texts::pictures_of(film).into_iter().unzip();
    streams.extend(pictures);
    let entries = texts::entries(&streams, object.content_id);
    let told = streams.iter().zip(entries).enumerate();
    Ok(told
        .map(|(at, (stream, entry))| {
            let name = stream.name.name();
            let picture = at.checked_sub(texts).and_then(|at| formats.get(at));
            let (format, url, index_url) = match picture {
                None => (SubtitleFormat::Webvtt, beside(&entry.whole_uri), None),
                Some(PictureFormat::Pgs) => {
                    (SubtitleFormat::Pgs, beside(&format!("{name}.sup")), None)
                }
                Some(PictureFormat::Vobsub) => {
                    let index = beside(&format!("{name}.idx"));
                    let file = beside(&format!("{name}.sub"));
                    (SubtitleFormat::Vobsub, file, Some(index))
                }
            };
            Subtitles {
                stream: name,
                name: entry.name,
                language: entry.language,
                default: entry.default,
                forced: entry.forced,
                hearing_impaired: entry.hearing,
                format,
                url,
                origin_ms: picture.map(|_| film.origin_us() / 1000),
                index_url,
            }
        })
        .collect())
}

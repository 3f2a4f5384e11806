//! Assets: films and recordings as people look for them, and how each would be played.

use std::collections::HashMap;

use axum::extract::{OriginalUri, State};
use axum::http::request::Parts;
use nebula_api::problem::code;
use nebula_api::{Asset, AssetState, AssetsQuery, Episode, Page, Playback, Urls, routes};

use super::{AdminParts, Query, choices, positions, renditions};
use crate::catalog::{self, AssetObjectRow, AssetRow};
use crate::http::{Problem, path, require, require_here, stated_player, user_agent};
use crate::identity::{Action, Caller, Resource};
use crate::kernel::{BucketName, ContentId};
use crate::media::decide::{Capabilities, decide};
use crate::media::{Film, MediaError, info::Info, looks_like_media, naming};
use crate::store::Object;

/// Rows read at a time.
const BATCH: i64 = 256;
/// Rows looked at for one page; a search that finds less than a page in so many goes on with the next cursor.
const LOOKED_AT_MAX: usize = 8 * 1024;
/// Words of a search that are looked at.
const WORDS_MAX: usize = 16;

pub(super) async fn list(
    State(parts): State<AdminParts>,
    caller: Caller,
    Query(query): Query<AssetsQuery>,
) -> Result<axum::Json<Page<Asset>>, Problem> {
    require(&caller, Action::ListBuckets, &Resource::Node)?;
    let limit = query.limit_items() as usize;
    let words = words(query.search.as_deref().unwrap_or_default());
    let mut before = match query.cursor.as_deref().map(str::parse::<i64>) {
        None => i64::MAX,
        Some(Ok(row)) => row,
        Some(Err(_)) => {
            return Err(Problem::invalid(
                "The cursor is not one that a listing gave.",
            ));
        }
    };
    let mut reach = Reach::default();
    let mut found: Vec<AssetObjectRow> = Vec::new();
    let mut looked_at = 0;
    let mut next = None;
    'rows: loop {
        let rows = parts.store.catalog().asset_objects(before, BATCH).await?;
        let is_last = rows.len() < BATCH as usize;
        looked_at += rows.len();
        for row in rows {
            if reach.holds(&caller, &row)? && matches(&words, &row) {
                if found.len() == limit {
                    // The page is full and there is more: it goes on below the last one shown.
                    next = Some(before.to_string());
                    break 'rows;
                }
                before = row.object_id;
                found.push(row);
            } else if found.len() < limit {
                before = row.object_id;
            }
        }
        if is_last {
            break;
        }
        if looked_at >= LOOKED_AT_MAX {
            next = Some(before.to_string());
            break;
        }
    }
    let mut items = Vec::with_capacity(found.len());
    for row in &found {
        items.push(listed(&parts, row).await?);
    }
    Ok(axum::Json(Page { items, next }))
}

pub(super) async fn get(
    State(parts): State<AdminParts>,
    caller: Caller,
    uri: OriginalUri,
    request: Parts,
) -> Result<axum::Json<Asset>, Problem> {
    let rest = path::behind(uri.path(), &format!("{}/", routes::ASSETS)).unwrap_or_default();
    let (bucket, key) = path::bucket_and_key(rest)?;
    let resource = Resource::Object(&bucket, &key);
    require_here(&parts.identity, &caller, Action::ReadObject, &resource).await?;
    let stated = stated_player(&request)?;
    let client = Capabilities::of(&stated, user_agent(&request.headers));
    let client = client.map_err(Problem::invalid)?;
    let object = parts.store.head(&bucket, &key, None).await?;
    match of_object(&parts, &caller, &client, &object).await? {
        Some(asset) => Ok(axum::Json(asset)),
        None => Err(Problem::not_found(
            code::ASSET_NOT_FOUND,
            "The object was not taken for media.",
        )
        .detail(format!(
            "Neither the name {key} nor its type says that it plays."
        ))
        .hint("Its bytes can be had under /-/file/.")),
    }
}

/// What the media room makes of an object; `None` when it is nothing that plays.
pub(super) async fn of_object(
    parts: &AdminParts,
    caller: &Caller,
    client: &Capabilities,
    object: &Object,
) -> Result<Option<Asset>, Problem> {
    let content = object.content_id;
    let row = parts.store.catalog().asset(content).await?;
    if row.is_none() && !looks_like_media(object) {
        return Ok(None);
    }
    let about = About {
        bucket: object.bucket.as_str(),
        key: object.key.as_str(),
        size_bytes: object.size,
        modified_ms: object.modified_ms,
    };
    let mut asset = shown(&about, row.as_ref())?;
    if asset.state == AssetState::Ready {
        asset.position_ms = positions::of(parts, caller, content).await?;
        let film = parts.media.film(content).await.map_err(problem)?;
        if let Some(film) = &film {
            asset.playback = Some(playback(parts, client, film, content).await?);
        }
        let planned = film
            .as_deref()
            .map(|film| parts.media.planned(film))
            .unwrap_or_default();
        asset.renditions = renditions::of(parts.store.catalog(), content, &planned).await?;
        if let Some(film) = &film {
            choices::offer(parts, caller, object, film, &mut asset).await?;
        }
    }
    Ok(Some(asset))
}

/// Whether an object plays, or may once it was looked at.
pub(super) async fn plays(parts: &AdminParts, object: &Object) -> Result<bool, Problem> {
    match parts.store.catalog().asset(object.content_id).await? {
        Some(row) => Ok(row.state()? != catalog::AssetState::Failed),
        None => Ok(looks_like_media(object)),
    }
}

/// Which assets a caller may see, bucket by bucket.
#[derive(Default)]
pub(super) struct Reach(HashMap<String, bool>);

impl Reach {
    /// Whether the caller may list this object: its bucket, or the part of it that the key lies in.
    pub(super) fn holds(&mut self, caller: &Caller, row: &AssetObjectRow) -> Result<bool, Problem> {
        let may = if let Some(may) = self.0.get(&row.bucket) {
            *may
        } else {
            let bucket: BucketName = row.bucket.parse()?;
            let list = Action::ListObjects;
            let may = caller.may(list, &Resource::Bucket(&bucket)).allow;
            self.0.insert(row.bucket.clone(), may);
            may
        };
        Ok(may || reads(caller, row))
    }
}

/// The object that an asset belongs to.
struct About<'a> {
    bucket: &'a str,
    key: &'a str,
    size_bytes: u64,
    modified_ms: i64,
}

/// What the row alone tells of an object in a list.
pub(super) fn entry(row: &AssetObjectRow) -> Result<Asset, Problem> {
    let key = row.key();
    let about = About {
        bucket: &row.bucket,
        key: &key,
        size_bytes: row.size_bytes.max(0) as u64,
        modified_ms: row.modified_ms,
    };
    shown(&about, Some(&row.asset))
}

async fn listed(parts: &AdminParts, row: &AssetObjectRow) -> Result<Asset, Problem> {
    let mut asset = entry(row)?;
    if asset.state == AssetState::Ready {
        let content = row.content()?;
        asset.renditions = renditions::of(parts.store.catalog(), content, &[]).await?;
    }
    Ok(asset)
}

/// What the row alone tells; an object without one is being looked at.
fn shown(about: &About<'_>, row: Option<&AssetRow>) -> Result<Asset, Problem> {
    let state = match row.map(AssetRow::state).transpose()? {
        None | Some(catalog::AssetState::Indexing) => AssetState::Indexing,
        Some(catalog::AssetState::Ready) => AssetState::Ready,
        Some(catalog::AssetState::Failed) => AssetState::Failed,
    };
    let info = row.map(|row| Info::parse(&row.info)).unwrap_or_default();
    let named = naming::read(about.key);
    // What the file says of an episode is as often the name of the series.
    let tagged = row
        .and_then(|row| row.title.clone())
        .filter(|_| named.episode.is_none());
    let plays = state != AssetState::Failed;
    let has_poster = row.is_some_and(|row| row.has_poster);
    Ok(Asset {
        bucket: about.bucket.to_owned(),
        key: about.key.to_owned(),
        state,
        reason: row.and_then(|row| row.reason.clone()),
        title: tagged.unwrap_or(named.title),
        year: named.year,
        episode: named.episode.map(|episode| Episode {
            series: episode.series,
            season: episode.season,
            number: episode.number,
        }),
        position_ms: None,
        size_bytes: about.size_bytes,
        duration_ms: row
            .and_then(|row| row.duration_ms)
            .and_then(|duration_ms| u64::try_from(duration_ms).ok()),
        container: Some(info.container).filter(|container| !container.is_empty()),
        tracks: info.tracks.iter().map(renditions::track).collect(),
        renditions: Vec::new(),
        sounds: Vec::new(),
        subtitles: Vec::new(),
        chapters: Vec::new(),
        storyboard: None,
        urls: Urls {
            file: routes::file(about.bucket, about.key),
            hls: plays.then(|| routes::hls_master(about.bucket, about.key)),
            poster: has_poster.then(|| routes::poster(about.bucket, about.key)),
        },
        playback: None,
        created_at_ms: about.modified_ms,
    })
}

/// How the film reaches this player at this moment.
async fn playback(
    parts: &AdminParts,
    client: &Capabilities,
    film: &Film,
    content: ContentId,
) -> Result<Playback, Problem> {
    let renditions = parts.media.renditions(content).await.map_err(problem)?;
    let coming = parts.media.more_coming(film, &renditions);
    Ok(decide(client, film, &renditions, coming).told())
}

pub(super) fn words(search: &str) -> Vec<String> {
    let words = search.split_whitespace().take(WORDS_MAX);
    words.map(str::to_lowercase).collect()
}

/// Whether the object is in the caller's reach, though its bucket as a whole is not.
fn reads(caller: &Caller, row: &AssetObjectRow) -> bool {
    let names = (row.bucket.parse(), row.key().parse());
    let (Ok(bucket), Ok(key)) = names else {
        return false;
    };
    let object = Resource::Object(&bucket, &key);
    caller.may(Action::ListObjects, &object).allow
}

pub(super) fn matches(words: &[String], row: &AssetObjectRow) -> bool {
    if words.is_empty() {
        return true;
    }
    let title = row.asset.title.as_deref().unwrap_or_default();
    let text = format!("{title}\n{}", row.key()).to_lowercase();
    words.iter().all(|word| text.contains(word.as_str()))
}

pub(super) fn problem(error: MediaError) -> Problem {
    match error {
        MediaError::Store(error) => error.into(),
        MediaError::Damaged(_) => Problem::internal(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_cut_into_words() {
        assert_eq!(words("  Big   BUNNY "), ["big", "bunny"]);
        assert!(words(&"a ".repeat(100)).len() == WORDS_MAX);
    }
}

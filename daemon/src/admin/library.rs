//! The shelf: films and series, the newest first.

use std::collections::{BTreeSet, HashMap};

use axum::extract::State;
use nebula_api::{LibraryItem, LibraryQuery, Page};

use super::{AdminParts, Query, assets, positions};
use crate::catalog::AssetObjectRow;
use crate::http::{Problem, require};
use crate::identity::{Action, Caller, Resource};
use crate::media::naming;

/// Rows read at a time.
const BATCH: i64 = 512;
/// Films on the shelf; those that were stored before them are found by search in the list of assets.
const SHELF_MAX: usize = 16 * 1024;

/// A series on its way to the shelf.
#[derive(Default)]
struct Series {
    seasons: BTreeSet<u16>,
    episodes: BTreeSet<(u16, u16)>,
}

pub(super) async fn list(
    State(parts): State<AdminParts>,
    caller: Caller,
    Query(query): Query<LibraryQuery>,
) -> Result<axum::Json<Page<LibraryItem>>, Problem> {
    require(&caller, Action::ListBuckets, &Resource::Node)?;
    let words = assets::words(query.search.as_deref().unwrap_or_default());
    let skip = match query.cursor.as_deref().map(str::parse::<usize>) {
        None => 0,
        Some(Ok(skip)) => skip,
        Some(Err(_)) => {
            return Err(Problem::invalid(
                "The cursor is not one that a listing gave.",
            ));
        }
    };
    let rows = shelf(&parts, &caller, &words).await?;
    let places = match &query.series {
        Some(series) => episodes(&rows, series),
        None => grouped(&rows),
    };
    let limit = query.limit_items() as usize;
    let next = (places.len() > skip + limit).then(|| (skip + limit).to_string());
    let mut items = Vec::new();
    for place in places.into_iter().skip(skip).take(limit) {
        let mut asset = assets::entry(place.row)?;
        asset.position_ms = positions::of(&parts, &caller, place.row.content()?).await?;
        items.push(LibraryItem {
            title: place.title,
            asset,
            episodes: place.series.as_ref().map(|one| one.episodes.len() as u32),
            seasons: place.series.as_ref().map(|one| one.seasons.len() as u32),
        });
    }
    Ok(axum::Json(Page { items, next }))
}

/// Everything that the caller may see and that has the words.
async fn shelf(
    parts: &AdminParts,
    caller: &Caller,
    words: &[String],
) -> Result<Vec<AssetObjectRow>, Problem> {
    let mut reach = assets::Reach::default();
    let (mut found, mut before, mut looked_at) = (Vec::new(), i64::MAX, 0);
    loop {
        let rows = parts.store.catalog().asset_objects(before, BATCH).await?;
        let is_last = rows.len() < BATCH as usize;
        looked_at += rows.len();
        before = rows.last().map_or(before, |row| row.object_id);
        for row in rows {
            if assets::matches(words, &row) && reach.holds(caller, &row)? {
                found.push(row);
            }
        }
        if is_last || looked_at >= SHELF_MAX {
            return Ok(found);
        }
    }
}

/// A place on the shelf, and whose row it shows.
struct Place<'a> {
    title: String,
    row: &'a AssetObjectRow,
    series: Option<Series>,
}

/// Films as they are and series as one, in the order of what is newest of each.
fn grouped(rows: &[AssetObjectRow]) -> Vec<Place<'_>> {
    let mut places: Vec<Place<'_>> = Vec::new();
    let mut series: HashMap<String, usize> = HashMap::new();
    for row in rows {
        let named = naming::read(&row.key());
        let Some(episode) = named.episode else {
            places.push(Place {
                title: row.asset.title.clone().unwrap_or(named.title),
                row,
                series: None,
            });
            continue;
        };
        let at = *series
            .entry(episode.series.to_lowercase())
            .or_insert_with(|| {
                places.push(Place {
                    title: episode.series.clone(),
                    row,
                    series: Some(Series::default()),
                });
                places.len() - 1
            });
        if let Some(series) = places.get_mut(at).and_then(|place| place.series.as_mut()) {
            series.seasons.insert(episode.season);
            series.episodes.insert((episode.season, episode.number));
        }
    }
    places
}

/// The episodes of a series in order.
fn episodes<'a>(rows: &'a [AssetObjectRow], series: &str) -> Vec<Place<'a>> {
    let series = series.to_lowercase();
    let mut found: Vec<((u16, u16), Place<'a>)> = Vec::new();
    for row in rows {
        let named = naming::read(&row.key());
        if let Some(episode) = named.episode
            && episode.series.to_lowercase() == series
        {
            let place = Place {
                title: named.title,
                row,
                series: None,
            };
            found.push(((episode.season, episode.number), place));
        }
    }
    found.sort_by_key(|(number, _)| *number);
    found.into_iter().map(|(_, place)| place).collect()
}

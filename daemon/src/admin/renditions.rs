//! The tracks and rungs of an asset, as the API tells them.

use std::collections::HashMap;

use nebula_api::{Rendition, RenditionState, Track, TrackKind};

use crate::catalog::{self, Catalog, RenditionKind, RenditionRow, RenditionTally};
use crate::http::Problem;
use crate::kernel::ContentId;
use crate::media::{Planned, info::TrackInfo};

/// The rungs that are there or begun, and behind them those that are only planned; largest first.
pub(super) async fn of(
    catalog: &Catalog,
    content: ContentId,
    planned: &[Planned],
) -> Result<Vec<Rendition>, Problem> {
    let rows = catalog.renditions(content).await?;
    let tallies: HashMap<String, RenditionTally> = if rows.is_empty() {
        HashMap::new()
    } else {
        let tallies = catalog.rendition_tallies(content).await?;
        tallies
            .into_iter()
            .map(|tally| (tally.recipe.clone(), tally))
            .collect()
    };
    let mut rungs = Vec::new();
    let pictures = rows.iter().filter(|row| row.kind() == RenditionKind::Video);
    for row in pictures {
        let plan = planned.iter().find(|plan| plan.recipe == row.recipe);
        rungs.push(rung(row, tallies.get(&row.recipe), plan)?);
    }
    let known = |plan: &Planned| rows.iter().any(|row| row.recipe == plan.recipe);
    rungs.extend(planned.iter().filter(|plan| !known(plan)).map(waiting));
    rungs.sort_by_key(|rung| std::cmp::Reverse((rung.height, rung.width)));
    Ok(rungs)
}

fn waiting(plan: &Planned) -> Rendition {
    Rendition {
        name: plan.name.clone(),
        width: plan.width,
        height: plan.height,
        state: RenditionState::Pending,
        progress: 0.0,
        codecs: None,
        bitrate_bps: None,
    }
}

fn rung(
    row: &RenditionRow,
    tally: Option<&RenditionTally>,
    plan: Option<&Planned>,
) -> Result<Rendition, Problem> {
    let segments = tally.map_or(0, |tally| tally.segments);
    let state = state(row, segments > 0)?;
    let pixels = |value: Option<i64>, planned: Option<u32>| {
        let known = value.and_then(|value| u32::try_from(value).ok());
        known.or(planned).unwrap_or(0)
    };
    Ok(Rendition {
        name: row.name.clone(),
        width: pixels(row.width, plan.map(|plan| plan.width)),
        height: pixels(row.height, plan.map(|plan| plan.height)),
        state,
        progress: match state {
            RenditionState::Ready => 1.0,
            _ => progress(segments, row.segments_total),
        },
        codecs: row.codecs.clone(),
        bitrate_bps: tally.and_then(|tally| bitrate_bps(tally, row.timescale)),
    })
}

/// How far a rendition is; `begun` when a part of it is there.
pub(super) fn state(row: &RenditionRow, begun: bool) -> Result<RenditionState, Problem> {
    Ok(match row.state()? {
        catalog::RenditionState::Ready => RenditionState::Ready,
        catalog::RenditionState::Failed => RenditionState::Failed,
        catalog::RenditionState::Evicted => RenditionState::Evicted,
        catalog::RenditionState::Building if begun => RenditionState::Running,
        catalog::RenditionState::Building => RenditionState::Pending,
    })
}

fn progress(segments: i64, total: i64) -> f64 {
    if total <= 0 {
        return 0.0;
    }
    (segments as f64 / total as f64).clamp(0.0, 1.0)
}

fn bitrate_bps(tally: &RenditionTally, timescale: i64) -> Option<u64> {
    if timescale <= 0 || tally.duration_ticks <= 0 {
        return None;
    }
    let seconds = tally.duration_ticks as f64 / timescale as f64;
    Some((tally.size_bytes as f64 * 8.0 / seconds) as u64)
}

/// One track of the source.
pub(super) fn track(info: &TrackInfo) -> Track {
    Track {
        index: info.id,
        kind: match info.kind.as_str() {
            "video" => TrackKind::Video,
            "audio" => TrackKind::Audio,
            "subtitle" => TrackKind::Subtitle,
            _ => TrackKind::Other,
        },
        codec: info.codec.clone(),
        codecs: info.codecs.clone(),
        language: info.language.clone(),
        title: info.title.clone(),
        default: info.default,
        width: info.width,
        height: info.height,
        frame_rate: info.frame_rate,
        range: info.range.clone(),
        channels: info.channels,
        sample_rate_hz: info.sample_rate,
        bitrate_bps: Some(info.bitrate_bps).filter(|bitrate_bps| *bitrate_bps > 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_what_is_not_there_are_not_made_up() {
        let mut tally = RenditionTally {
            recipe: "720p-1".into(),
            segments: 2,
            size_bytes: 1_000_000,
            duration_ticks: 96_000,
        };
        assert_eq!(bitrate_bps(&tally, 12_000), Some(1_000_000));
        assert_eq!(bitrate_bps(&tally, 0), None);
        tally.duration_ticks = 0;
        assert_eq!(bitrate_bps(&tally, 12_000), None);
        assert!(progress(3, 0).abs() < f64::EPSILON);
        assert!((progress(3, 2) - 1.0).abs() < f64::EPSILON);
    }
}

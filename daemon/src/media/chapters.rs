//! Chapters, on the clock of the playlists.

use nebula_hwaccel::index::TrackFacts;
use serde_json::json;

use super::film::Film;
use super::webvtt::Stretch;

/// The chapters of a film: each to the next one or its own end.
pub fn of(film: &Film) -> Vec<Stretch> {
    let origin_us = film.origin_us();
    let total_us = film
        .timeline
        .as_ref()
        .map_or(0, |grid| (grid.total_s() * 1e6) as i64);
    let list = &film.index.facts.chapters;
    let mut chapters = Vec::new();
    for (at, chapter) in list.iter().enumerate() {
        let start_us = chapter
            .start_us
            .saturating_sub(origin_us)
            .clamp(0, total_us);
        let next_us = list
            .get(at + 1)
            .map_or(total_us, |next| next.start_us.saturating_sub(origin_us));
        let own_us = chapter.end_us.saturating_sub(origin_us);
        let end_us = if own_us > start_us {
            own_us.min(next_us)
        } else {
            next_us
        };
        let end_us = end_us.min(total_us);
        if end_us > start_us {
            chapters.push(Stretch {
                start_us,
                end_us,
                text: chapter
                    .title
                    .clone()
                    .unwrap_or_else(|| format!("Chapter {}", at + 1)),
            });
        }
    }
    chapters
}

/// The same as players of Apple's read them (`com.apple.hls.chapters`); `None` where there are none.
pub fn list(film: &Film) -> Option<String> {
    let language = film
        .sounds()
        .find_map(|track: &TrackFacts| track.language.as_deref().map(super::language::tag));
    let language = language.unwrap_or_else(|| "und".into());
    let chapter = |(at, one): (usize, &Stretch)| {
        json!({
            "chapter": at + 1,
            "start-time": one.start_us as f64 / 1e6,
            "duration": (one.end_us - one.start_us) as f64 / 1e6,
            "titles": [{ "language": language, "title": one.text }],
        })
    };
    let chapters = of(film);
    let list: Vec<serde_json::Value> = chapters.iter().enumerate().map(chapter).collect();
    (!list.is_empty()).then(|| json!(list).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::timeline::tests::film;
    use nebula_hwaccel::index::Chapter;

    #[test]
    fn chapters_end_where_the_next_begins() {
        let mut index = film(10, 25);
        let chapter = |start_us, end_us, title: Option<&str>| Chapter {
            start_us,
            end_us,
            title: title.map(str::to_owned),
        };
        index.facts.chapters = vec![
            chapter(0, 0, Some("One")),
            chapter(4_000_000, 99_000_000, None),
        ];
        let list = of(&Film::new(index));
        let times: Vec<(i64, i64, &str)> = list
            .iter()
            .map(|one| (one.start_us, one.end_us, one.text.as_str()))
            .collect();
        assert_eq!(
            times,
            [(0, 4_000_000, "One"), (4_000_000, 10_000_000, "Chapter 2")]
        );
    }
}

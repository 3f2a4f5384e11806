//! The jobs that follow from an index, and from one another.

use serde_json::json;

use super::film::Film;
use super::ladder;
use super::library::Media;
use super::order::{About, LadderPayload, SubtitlesPayload, Wanted};
use super::{sounds, texts};
use crate::catalog::{JobObject, NewJob};
use crate::kernel::Millis;
use crate::queue::{Job, kind};

/// Nobody waits for a ladder.
const LADDER_PRIORITY: i64 = -5;
/// Without its sound a film is silent in most players: it goes before the rungs, which only make it smaller.
const SOUND_PRIORITY: i64 = 2;
/// A moment's work for most films, and a viewer may miss its result.
const SUBTITLES_PRIORITY: i64 = 4;

impl Media {
    /// The jobs that follow from an index: one for the texts, one for each sound track that is made anew, so that the
    /// first does not wait for the others, and one for all rungs, as they share a decode.
    pub(super) fn following(
        &self,
        parent: &Job,
        about: &About,
        film: &Film,
        now_ms: Millis,
    ) -> Vec<NewJob> {
        let mut jobs = Vec::new();
        let tracks = texts::tracks(film);
        if !tracks.is_empty() {
            jobs.push(subtitles_job(about, tracks, now_ms));
        }
        jobs.extend(self.rendition_jobs(about, film, |_| true, now_ms));
        for job in &mut jobs {
            job.parent = Some(parent.id);
        }
        jobs
    }

    /// The jobs that make those renditions of a film that `which` names by their recipe.
    pub(super) fn rendition_jobs(
        &self,
        about: &About,
        film: &Film,
        which: impl Fn(&str) -> bool,
        now_ms: Millis,
    ) -> Vec<NewJob> {
        let mut jobs: Vec<NewJob> = sounds::wanted(film)
            .into_iter()
            .filter(|one| which(&one.recipe))
            .map(|one| sound_job(about, one, now_ms))
            .collect();
        let mut rungs = ladder::wanted(film, &self.0.ladder);
        rungs.retain(|one| which(&one.recipe));
        if !rungs.is_empty() {
            jobs.push(ladder_job(about, rungs, now_ms));
        }
        jobs
    }
}

/// The job that makes rungs; one per content is queued at a time.
fn ladder_job(about: &About, renditions: Vec<Wanted>, now_ms: Millis) -> NewJob {
    let once = format!("ladder:{}", about.content);
    renditions_job(kind::LADDER, about, renditions, now_ms)
        .once(once)
        .priority(LADDER_PRIORITY)
}

/// The job that makes one sound track.
fn sound_job(about: &About, one: Wanted, now_ms: Millis) -> NewJob {
    let once = format!("sound:{}:{}", about.content, one.recipe);
    renditions_job(kind::SOUND, about, vec![one], now_ms)
        .once(once)
        .priority(SOUND_PRIORITY)
}

fn renditions_job(kind: &str, about: &About, renditions: Vec<Wanted>, now_ms: Millis) -> NewJob {
    let payload = LadderPayload {
        about: about.clone(),
        renditions,
    };
    of_object(NewJob::new(kind, json!(payload), now_ms), about)
}

/// The job that reads texts: of these tracks of a film, or of a file of subtitles where there are none; one per content
/// is queued at a time.
pub(super) fn subtitles_job(about: &About, tracks: Vec<u32>, now_ms: Millis) -> NewJob {
    let payload = SubtitlesPayload {
        about: about.clone(),
        tracks,
    };
    let job = NewJob::new(kind::SUBTITLES, json!(payload), now_ms)
        .once(format!("subtitles:{}", about.content))
        .priority(SUBTITLES_PRIORITY);
    of_object(job, about)
}

pub(super) fn of_object(job: NewJob, about: &About) -> NewJob {
    match about.object() {
        Some((bucket, key, version)) => job.about(JobObject {
            bucket,
            key,
            version,
        }),
        None => job,
    }
}

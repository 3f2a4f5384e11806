//! Which jobs follow from what: an index job from an object that looks like media, a ladder job from an index.

use std::sync::Arc;

use nebula_hwaccel::subtitle::MAX_FILE_BYTES;
use serde_json::json;

use super::beside;
use super::follow;
use super::order::About;
use crate::catalog::{JobObject, NewJob};
use crate::kernel::{Clock, ObjectKey};
use crate::queue::kind;
use crate::store::{Object, ObjectHeaders, Planner};

/// Nothing shorter than this is media.
const MEDIA_BYTES_MIN: u64 = 16;
/// A viewer waits for an index: it goes before everything in the background.
const INDEX_PRIORITY: i64 = 5;
/// A broken circumstance is given another chance, a broken file is not.
const INDEX_ATTEMPTS_MAX: u32 = 3;

/// Extensions of containers that FFmpeg opens and that hold sound or pictures in time.
const EXTENSIONS: &[&str] = &[
    "3g2", "3gp", "aac", "ac3", "aif", "aiff", "alac", "asf", "avi", "divx", "dv", "eac3", "f4v",
    "flac", "flv", "m2ts", "m2v", "m4a", "m4b", "m4v", "mka", "mkv", "mov", "mp2", "mp3", "mp4",
    "mpe", "mpeg", "mpg", "mts", "mxf", "oga", "ogg", "ogm", "ogv", "opus", "qt", "rm", "rmvb",
    "ts", "vob", "wav", "weba", "webm", "wma", "wmv",
];

/// The planner of the store: runs inside each publishing transaction, so it looks at nothing but the object.
pub fn planner(clock: Clock) -> Planner {
    Arc::new(move |object| plan(object, &clock))
}

/// The jobs that follow from a published object.
///
/// One index job per content is queued at a time; one that finds its content known ends at once.
pub fn plan(object: &Object, clock: &Clock) -> Vec<NewJob> {
    // What needs a customer's key, no worker can read.
    if object.size < MEDIA_BYTES_MIN || object.needs_key() {
        return Vec::new();
    }
    if beside::is_subtitles(&object.key) && object.size <= MAX_FILE_BYTES {
        // Whether a film lies beside it already or not.
        let about = About::of(object);
        return vec![follow::subtitles_job(&about, Vec::new(), clock.now_ms())];
    }
    if !looks_like_media(object) {
        return Vec::new();
    }
    vec![index_job(object, clock)]
}

/// Whether name or type suggest sound or pictures in time.
///
/// A type that says something else wins over the name, except the types that mean "I do not know".
pub fn looks_like_media(object: &Object) -> bool {
    may_be_played(&object.headers, &object.key)
}

/// The same of what is not an object yet.
pub fn may_be_played(headers: &ObjectHeaders, key: &ObjectKey) -> bool {
    named_like_media(headers.content_type.as_deref(), key.extension().as_deref())
}

fn named_like_media(content_type: Option<&str>, extension: Option<&str>) -> bool {
    let by_name = extension.is_some_and(|extension| EXTENSIONS.contains(&extension));
    let kind = content_type.map(|value| {
        value
            .split(';')
            .next()
            .unwrap_or(value)
            .trim()
            .to_ascii_lowercase()
    });
    match kind.as_deref() {
        None
        | Some(
            ""
            | "application/octet-stream"
            | "binary/octet-stream"
            | "application/x-www-form-urlencoded"
            // TypeScript sources and transport streams share an extension, and so a type.
            | "video/mp2t"
            | "video/vnd.dlna.mpeg-tts",
        ) => by_name,
        Some(
            "application/mp4" | "application/x-matroska" | "application/ogg" | "application/mxf",
        ) => true,
        // Playlists are text.
        Some("audio/mpegurl" | "audio/x-mpegurl" | "audio/x-scpls" | "audio/midi") => false,
        Some(kind) => kind.starts_with("video/") || kind.starts_with("audio/"),
    }
}

/// The job that reads a content as media.
pub fn index_job(object: &Object, clock: &Clock) -> NewJob {
    let job = NewJob::new(kind::INDEX, json!(About::of(object)), clock.now_ms());
    NewJob {
        attempts_max: INDEX_ATTEMPTS_MAX,
        ..job
            .once(format!("index:{}", object.content_id))
            .priority(INDEX_PRIORITY)
            .about(JobObject {
                bucket: object.bucket.clone(),
                key: object.key.clone(),
                version: object.version_id.clone(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_type_decide_together() {
        let table = [
            (None, Some("mp4"), true),
            (None, Some("txt"), false),
            (None, None, false),
            (Some("binary/octet-stream"), Some("mkv"), true),
            (Some("text/plain"), Some("mp4"), false),
            (Some("video/mp4"), None, true),
            (Some("Video/MP4; codecs=avc1"), None, true),
            (Some("audio/mpegurl"), Some("m3u8"), false),
            (Some("image/jpeg"), Some("jpg"), false),
            (Some("video/mp2t"), Some("ts"), true),
        ];
        for (content_type, extension, expected) in table {
            assert_eq!(
                named_like_media(content_type, extension),
                expected,
                "{content_type:?} {extension:?}"
            );
        }
    }

    #[test]
    fn the_extensions_are_sorted_and_unique() {
        assert!(EXTENSIONS.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

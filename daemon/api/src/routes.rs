//! The addresses, written once: patterns for the server's router, functions for everyone who calls it.
//!
//! A constant with braces is a pattern in the router's language (`{name}` one segment,
//! `{*name}` the rest, both handed over percent-decoded); the function beside it builds
//! the path for one value, encoded.

use std::fmt::Write as _;

/// The discovery document.
pub const DISCOVERY: &str = "/.well-known/nebula";
/// The base of the JSON API.
pub const API: &str = "/-/api/v1";
/// The tus door, with its final slash; an upload's URL is this and its id.
pub const TUS: &str = "/-/tus/";
/// The door of the IETF's resumable uploads, with its final slash; `{bucket}/{key}` begins one, its id is the upload.
pub const RESUMABLE: &str = "/-/upload/";
/// The web console.
pub const CONSOLE: &str = "/-/";

/// Node status and identity.
pub const STATUS: &str = "/-/api/v1/status";
/// The OpenAPI document.
pub const OPENAPI: &str = "/-/api/v1/openapi.json";
/// Buckets.
pub const BUCKETS: &str = "/-/api/v1/buckets";
/// One bucket.
pub const BUCKET: &str = "/-/api/v1/buckets/{bucket}";
/// A bucket's objects.
pub const OBJECTS: &str = "/-/api/v1/buckets/{bucket}/objects";
/// One object.
pub const OBJECT: &str = "/-/api/v1/buckets/{bucket}/objects/{*key}";
/// A content, by its BLAKE3.
pub const CONTENT: &str = "/-/api/v1/contents/{blake3}";
/// Assets.
pub const ASSETS: &str = "/-/api/v1/assets";
/// One asset.
pub const ASSET: &str = "/-/api/v1/assets/{bucket}/{*key}";
/// An asset's poster.
pub const POSTER: &str = "/-/api/v1/posters/{bucket}/{*key}";
/// Films and series as a shelf.
pub const LIBRARY: &str = "/-/api/v1/library";
/// Where the caller stopped watching.
pub const POSITIONS: &str = "/-/api/v1/positions";
/// Where the caller stopped watching one object.
pub const POSITION: &str = "/-/api/v1/positions/{bucket}/{*key}";
/// Who watches now.
pub const STREAMS: &str = "/-/api/v1/streams";
/// Jobs.
pub const JOBS: &str = "/-/api/v1/jobs";
/// One job.
pub const JOB: &str = "/-/api/v1/jobs/{id}";
/// Cancel a job.
pub const JOB_CANCEL: &str = "/-/api/v1/jobs/{id}/cancel";
/// Retry a job.
pub const JOB_RETRY: &str = "/-/api/v1/jobs/{id}/retry";
/// Access keys.
pub const KEYS: &str = "/-/api/v1/keys";
/// One access key.
pub const KEY: &str = "/-/api/v1/keys/{id}";
/// Temporary keys.
pub const SESSIONS: &str = "/-/api/v1/sessions";
/// One temporary key.
pub const SESSION: &str = "/-/api/v1/sessions/{id}";
/// Disks that are being emptied.
pub const DRAINS: &str = "/-/api/v1/drains";
/// One of them.
pub const DRAIN: &str = "/-/api/v1/drains/{disk}";
/// Signed links.
pub const LINKS: &str = "/-/api/v1/links";
/// One signed link.
pub const LINK: &str = "/-/api/v1/links/{id}";
/// Unfinished uploads.
pub const UPLOADS: &str = "/-/api/v1/uploads";
/// One unfinished upload.
pub const UPLOAD: &str = "/-/api/v1/uploads/{id}";
/// The event stream.
pub const EVENTS: &str = "/-/api/v1/events";

/// An object's bytes.
pub const FILE: &str = "/-/file/{bucket}/{*key}";
/// An object's playlists and segments.
pub const HLS: &str = "/-/hls/{bucket}/{*rest}";
/// The bytes behind a signed link.
pub const LINK_FILE: &str = "/-/link/{token}/file/{bucket}/{*key}";
/// The playlists and segments behind a signed link.
pub const LINK_HLS: &str = "/-/link/{token}/hls/{bucket}/{*rest}";

/// [`BUCKET`] for one bucket.
pub fn bucket(bucket: &str) -> String {
    format!("{BUCKETS}/{}", encode_segment(bucket))
}

/// [`OBJECTS`] for one bucket.
pub fn objects(bucket: &str) -> String {
    format!("{BUCKETS}/{}/objects", encode_segment(bucket))
}

/// [`OBJECT`] for one object.
pub fn object(bucket: &str, key: &str) -> String {
    format!("{}/{}", objects(bucket), encode_key(key))
}

/// [`CONTENT`] for one hash.
pub fn content(blake3: &str) -> String {
    format!("{API}/contents/{}", encode_segment(blake3))
}

/// [`ASSET`] for one object.
pub fn asset(bucket: &str, key: &str) -> String {
    under(ASSETS, bucket, key)
}

/// [`POSITION`] for one object.
pub fn position(bucket: &str, key: &str) -> String {
    under(POSITIONS, bucket, key)
}

/// [`POSTER`] for one object.
pub fn poster(bucket: &str, key: &str) -> String {
    under("/-/api/v1/posters", bucket, key)
}

/// [`JOB`] for one job.
pub fn job(id: &str) -> String {
    format!("{JOBS}/{}", encode_segment(id))
}

/// [`JOB_CANCEL`] for one job.
pub fn job_cancel(id: &str) -> String {
    format!("{}/cancel", job(id))
}

/// [`JOB_RETRY`] for one job.
pub fn job_retry(id: &str) -> String {
    format!("{}/retry", job(id))
}

/// [`KEY`] for one access key.
pub fn key(id: &str) -> String {
    format!("{KEYS}/{}", encode_segment(id))
}

/// [`SESSION`] for one temporary key.
pub fn session(id: &str) -> String {
    format!("{SESSIONS}/{}", encode_segment(id))
}

/// [`DRAIN`] for one disk.
pub fn drain(disk: &str) -> String {
    format!("{DRAINS}/{}", encode_segment(disk))
}

/// [`LINK`] for one link.
pub fn link(id: &str) -> String {
    format!("{LINKS}/{}", encode_segment(id))
}

/// [`UPLOAD`] for one upload.
pub fn upload(id: &str) -> String {
    format!("{UPLOADS}/{}", encode_segment(id))
}

/// [`FILE`] for one object.
pub fn file(bucket: &str, key: &str) -> String {
    under("/-/file", bucket, key)
}

/// The master playlist of one object.
pub fn hls_master(bucket: &str, key: &str) -> String {
    hls_part(bucket, key, "master.m3u8")
}

/// What lies beside the master playlist of one object; `reference` is relative to it, and encoded.
pub fn hls_part(bucket: &str, key: &str, reference: &str) -> String {
    format!("{}/{reference}", under("/-/hls", bucket, key))
}

/// The bytes of one object behind a signed link.
pub fn link_file(token: &str, bucket: &str, key: &str) -> String {
    under(
        &format!("/-/link/{}/file", encode_segment(token)),
        bucket,
        key,
    )
}

/// The master playlist of one object behind a signed link.
pub fn link_hls_master(token: &str, bucket: &str, key: &str) -> String {
    let base = format!("/-/link/{}/hls", encode_segment(token));
    format!("{}/master.m3u8", under(&base, bucket, key))
}

fn under(base: &str, bucket: &str, key: &str) -> String {
    format!("{base}/{}/{}", encode_segment(bucket), encode_key(key))
}

/// Percent-encodes a key for a path: all but the unreserved characters (RFC 3986 §2.3) and the slash.
///
/// URL libraries fold `.` and `..` segments away even when their dots are encoded; in a key that
/// has such a segment the slashes are encoded too, which no library touches.
pub fn encode_key(key: &str) -> String {
    let folds = key.split('/').any(|s| s == "." || s == "..");
    encode(key, !folds)
}

/// Percent-encodes one path segment: all but the unreserved characters.
pub fn encode_segment(segment: &str) -> String {
    encode(segment, false)
}

fn encode(text: &str, keep_slash: bool) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            b'/' if keep_slash => out.push('/'),
            _ => write!(out, "%{byte:02X}").expect("a String takes every write"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_slashes_and_nothing_else() {
        let table = [
            ("a/b.mp4", "a/b.mp4"),
            ("für elise?.mp3", "f%C3%BCr%20elise%3F.mp3"),
            ("a//b", "a//b"),
            ("100%", "100%25"),
            ("a/../b", "a%2F..%2Fb"),
        ];
        for (key, path) in table {
            assert_eq!(encode_key(key), path);
        }
        assert_eq!(
            object("films", "x y"),
            "/-/api/v1/buckets/films/objects/x%20y"
        );
        assert_eq!(
            hls_master("films", "a/b.mp4"),
            "/-/hls/films/a/b.mp4/master.m3u8"
        );
    }

    #[test]
    fn every_pattern_lies_under_its_base() {
        for route in [STATUS, OBJECT, POSTER, JOB_RETRY, LINK, UPLOAD, EVENTS] {
            assert!(route.starts_with(API), "{route}");
        }
    }
}

//! Media types by extension, where the uploader named none.

use crate::kernel::ObjectKey;

/// What is told of bytes that nobody knows.
pub const OCTET_STREAM: &str = "application/octet-stream";

/// The media types that players need and tables leave out or get wrong.
const MEDIA: &[(&str, &str)] = &[
    ("aac", "audio/aac"),
    ("ac3", "audio/ac3"),
    ("ass", "text/x-ssa"),
    ("avif", "image/avif"),
    ("eac3", "audio/eac3"),
    ("flac", "audio/flac"),
    ("hevc", "video/H265"),
    ("m2ts", "video/mp2t"),
    ("m3u", "application/vnd.apple.mpegurl"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4a", "audio/mp4"),
    ("m4b", "audio/mp4"),
    ("m4s", "video/iso.segment"),
    ("m4v", "video/mp4"),
    ("mka", "audio/x-matroska"),
    ("mkv", "video/x-matroska"),
    ("mov", "video/quicktime"),
    ("mp4", "video/mp4"),
    ("mpd", "application/dash+xml"),
    ("mts", "video/mp2t"),
    ("oga", "audio/ogg"),
    ("ogv", "video/ogg"),
    ("opus", "audio/ogg"),
    ("srt", "application/x-subrip"),
    ("ssa", "text/x-ssa"),
    ("ts", "video/mp2t"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("weba", "audio/webm"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
];

/// The media type of a key by its extension.
pub fn of_key(key: &ObjectKey) -> &'static str {
    let Some(extension) = key.extension() else {
        return OCTET_STREAM;
    };
    if let Some((_, kind)) = MEDIA.iter().find(|(name, _)| *name == extension) {
        return kind;
    }
    mime_guess::from_ext(&extension)
        .first_raw()
        .unwrap_or(OCTET_STREAM)
}

/// The type that an object is served with: what its uploader said, unless that says nothing.
pub fn served<'a>(stored: Option<&'a str>, key: &ObjectKey) -> &'a str {
    match stored {
        Some(kind) if !kind.is_empty() && kind != OCTET_STREAM && kind != "binary/octet-stream" => {
            kind
        }
        _ => of_key(key),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn media_types_are_those_that_players_know() {
        let of = |key: &str| of_key(&key.parse().unwrap());
        for (key, kind) in [
            ("a/film.MKV", "video/x-matroska"),
            ("a.ts", "video/mp2t"),
            ("a.vtt", "text/vtt; charset=utf-8"),
            ("a.jpg", "image/jpeg"),
            ("a.json", "application/json"),
            ("a", OCTET_STREAM),
            ("a.unknown-thing", OCTET_STREAM),
        ] {
            assert_eq!(of(key), kind, "{key}");
        }
        let key = "a.mp4".parse().unwrap();
        assert_eq!(served(Some("video/x-mine"), &key), "video/x-mine");
        assert_eq!(served(Some(OCTET_STREAM), &key), "video/mp4");
        assert_eq!(served(None, &key), "video/mp4");
    }

    #[test]
    fn the_table_has_each_extension_once_in_order() {
        assert!(MEDIA.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}

//! Entity tags: strong only, compared by their opaque text.

use std::fmt;

/// The opaque text of a strong entity tag, without the quotes (RFC 9110 §8.8.3).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ETag(String);

impl ETag {
    /// The tag of a whole body with this MD5, as S3 clients verify it.
    pub fn from_md5(md5: [u8; 16]) -> Self {
        Self(hex::encode(md5))
    }

    /// The tag of a multipart object: the MD5 over the parts' MD5s, and their number.
    pub fn from_parts(md5_of_md5s: [u8; 16], parts: usize) -> Self {
        Self(format!("{}-{parts}", hex::encode(md5_of_md5s)))
    }

    /// The tag of an object whose MD5 nobody computed: 32 hex digits of its content hash and `-0`, which no client takes for an MD5.
    pub fn from_content(content: &[u8; 32]) -> Self {
        Self(format!("{}-0", hex::encode(&content[..16])))
    }

    /// A tag read back from the catalog; the text holds no quote.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The text between the quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// With quotes, as headers carry it.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }

    /// Strong comparison with one tag of a header: quotes are optional as S3 clients leave them out, `W/` never matches (RFC 9110 §8.8.3.2).
    pub fn matches(&self, header: &str) -> bool {
        let header = header.trim();
        if header.starts_with("W/") {
            return false;
        }
        header
            .strip_prefix('"')
            .and_then(|h| h.strip_suffix('"'))
            .unwrap_or(header)
            == self.0
    }

    /// Strong comparison with a whole `If-Match` list; `*` matches any (RFC 9110 §13.1.1).
    pub fn matches_any(&self, header: &str) -> bool {
        header.trim() == "*" || header.split(',').any(|one| self.matches(one))
    }

    /// Weak comparison with a whole `If-None-Match` list (RFC 9110 §13.1.2).
    pub fn matches_any_weakly(&self, header: &str) -> bool {
        header.trim() == "*"
            || header
                .split(',')
                .any(|one| self.matches(one.trim().trim_start_matches("W/")))
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparison_is_strong_or_weak_as_the_header_asks() {
        let tag = ETag::from_stored("abc".into());
        assert!(tag.matches_any("\"x\", \"abc\""));
        assert!(tag.matches_any("abc"));
        assert!(tag.matches_any(" * "));
        assert!(!tag.matches_any("W/\"abc\""));
        assert!(tag.matches_any_weakly("W/\"abc\""));
        assert!(!tag.matches_any_weakly("\"abd\""));
    }
}

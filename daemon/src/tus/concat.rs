//! `Upload-Concat` (tus 1.0, "Concatenation"): partial uploads, and the final one that is made of them.

use axum::http::HeaderMap;

use super::headers::text;
use crate::http::Problem;
use crate::kernel::UploadId;
use crate::store::PARTIALS_MAX;

/// The header.
pub(super) const UPLOAD_CONCAT: &str = "upload-concat";

/// What an upload is in a concatenation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Concat {
    /// It becomes an object by itself.
    None,
    /// Bytes for others.
    Partial,
    /// Made of these, in order.
    Final(Vec<UploadId>),
}

impl Concat {
    /// Reads the header; addresses may be absolute or paths, their last segment counts.
    ///
    /// # Errors
    /// 400 for another word, an empty list, and an address that is no upload's.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(value) = text(headers, UPLOAD_CONCAT)? else {
            return Ok(Self::None);
        };
        if value == "partial" {
            return Ok(Self::Partial);
        }
        let Some(list) = value.strip_prefix("final;") else {
            return Err(Problem::invalid(
                "Upload-Concat must be `partial`, or `final;` and the addresses of partial uploads.",
            ));
        };
        let id = |address: &str| {
            let last = address.rsplit('/').next().unwrap_or_default();
            last.parse().map_err(|_| {
                Problem::invalid(format!(
                    "Upload-Concat names `{address}`, which is no upload."
                ))
            })
        };
        let ids = list
            .split_ascii_whitespace()
            .take(PARTIALS_MAX + 1)
            .map(id)
            .collect::<Result<Vec<_>, _>>()?;
        if ids.is_empty() || ids.len() > PARTIALS_MAX {
            return Err(Problem::invalid(format!(
                "Upload-Concat must name between 1 and {PARTIALS_MAX} partial uploads."
            )));
        }
        Ok(Self::Final(ids))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_final_upload_names_its_parts_by_any_address() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(UPLOAD_CONCAT, value.parse().expect("a value"));
            Concat::of(&headers).map_err(|p| p.status().as_u16())
        };
        let (a, b) = (UploadId::random(), UploadId::random());
        let both = format!("final;/-/tus/{a} http://nas:8000/-/tus/{b}");
        assert_eq!(of(&both), Ok(Concat::Final(vec![a, b])));
        assert_eq!(of("partial"), Ok(Concat::Partial));
        for bad in [
            "",
            "sometimes",
            "final",
            "final;",
            "final; ",
            "final;/-/tus/x",
        ] {
            assert_eq!(of(bad), Err(400), "{bad}");
        }
        assert!(matches!(Concat::of(&HeaderMap::new()), Ok(Concat::None)));
    }
}

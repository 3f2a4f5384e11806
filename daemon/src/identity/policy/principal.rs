//! Whom a statement is about.

use super::document::Pairs;
use super::{PolicyError, shown};
use crate::kernel::AccessKeyId;

/// The callers that a statement names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Principals {
    /// `*`: everybody, known or not.
    pub(super) everyone: bool,
    /// Access key ids and tailnet logins.
    ids: Vec<String>,
}

impl Principals {
    /// Reads the text form, of which only `*` means something.
    pub(super) fn of_text(text: &str) -> Result<Self, PolicyError> {
        if text == "*" {
            return Ok(Self {
                everyone: true,
                ids: Vec::new(),
            });
        }
        Err(invalid(text))
    }

    /// Reads `{"AWS": …}` and `{"CanonicalUser": …}`.
    pub(super) fn of_pairs(pairs: &Pairs<Vec<String>>) -> Result<Self, PolicyError> {
        let mut out = Self::default();
        for (kind, names) in &pairs.0 {
            if kind != "AWS" && kind != "CanonicalUser" {
                return Err(PolicyError::new(format!(
                    "a principal of the kind `{}` does not exist here: use AWS or CanonicalUser",
                    shown(kind)
                )));
            }
            for name in names {
                if name == "*" && kind == "AWS" {
                    out.everyone = true;
                } else {
                    out.ids.push(id_of(name)?);
                }
            }
        }
        if !out.everyone && out.ids.is_empty() {
            return Err(PolicyError::new("a statement has no principal"));
        }
        Ok(out)
    }

    /// Whether this caller is named, `None` being nobody known.
    pub(super) fn covers(&self, caller: Option<&str>) -> bool {
        self.everyone || caller.is_some_and(|caller| self.ids.iter().any(|id| id == caller))
    }
}

fn invalid(name: &str) -> PolicyError {
    PolicyError::new(format!(
        "invalid principal `{}`: write \"*\", an access key id, a tailnet login, or arn:aws:iam:::user/ID",
        shown(name)
    ))
}

/// The id in a principal: itself, or what stands in its ARN.
fn id_of(name: &str) -> Result<String, PolicyError> {
    let id = match name.strip_prefix("arn:aws:iam::") {
        None => name,
        Some(rest) => match rest.split_once(':') {
            // Every holder of a key is an account of its own here.
            Some((account, "root")) => account,
            Some((_, user)) => user
                .strip_prefix("user/")
                .and_then(|path| path.rsplit('/').next())
                .ok_or_else(|| invalid(name))?,
            None => return Err(invalid(name)),
        },
    };
    let login = id.contains('@') && id.len() <= 256 && !id.chars().any(char::is_whitespace);
    if login || id.parse::<AccessKeyId>().is_ok() {
        Ok(id.to_owned())
    } else {
        Err(invalid(name))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn of(kind: &str, names: &[&str]) -> Result<Principals, PolicyError> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Principals::of_pairs(&Pairs(vec![(kind.to_owned(), names)]))
    }

    #[test]
    fn ids_are_found_in_every_spelling() {
        for spelling in [
            "NEB2ABC",
            "arn:aws:iam:::user/NEB2ABC",
            "arn:aws:iam::home:user/path/NEB2ABC",
            "arn:aws:iam::NEB2ABC:root",
        ] {
            let principals = of("AWS", &[spelling]).unwrap();
            assert!(principals.covers(Some("NEB2ABC")), "{spelling}");
            assert!(!principals.covers(Some("OTHER")) && !principals.covers(None));
        }
        assert!(of("CanonicalUser", &["a@example.org"]).is_ok());
        assert!(of("AWS", &["*"]).unwrap().covers(None));
        assert!(Principals::of_text("*").unwrap().covers(None));
        for (kind, name) in [
            ("Service", "logging.s3.amazonaws.com"),
            ("AWS", "arn:aws:iam::1:role/x"),
            ("AWS", "arn:aws:iam:::root"),
            ("AWS", "a b"),
            ("AWS", "NEB*"),
            ("CanonicalUser", "*"),
        ] {
            assert!(of(kind, &[name]).is_err(), "{kind} {name}");
        }
        assert!(of("AWS", &[]).is_err());
        assert!(Principals::of_text("NEB2ABC").is_err());
    }
}

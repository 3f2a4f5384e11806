//! A bucket as a website: what its configuration says, and where it leads.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// The setting of a bucket that holds it.
pub const SETTING: &str = "website";
/// Routing rules of one bucket (Amazon S3).
pub const RULES_MAX: usize = 50;
/// What a key keeps in a path.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// A key as a path of an address.
pub(super) fn encoded(key: &str) -> String {
    utf8_percent_encode(key, KEPT).to_string()
}

/// The website of a bucket, as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// What stands for a folder: `index.html`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// The key of the page that stands for every error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Where everything leads, instead of all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect_all: Option<Elsewhere>,
    /// What leads elsewhere; the first that fits counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// Another host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// Its name.
    pub host: String,
    /// `http` or `https`; `http` when nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
}

impl Elsewhere {
    /// Its front page, with the last slash.
    pub(super) fn root(&self) -> String {
        let protocol = self.protocol.as_deref().unwrap_or("http");
        format!("{protocol}://{}/", self.host)
    }
}

/// One routing rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rule {
    /// Which keys, by their start; all of them when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Only when the answer would be this error; at once when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Where it leads.
    pub redirect: Redirect,
}

/// What a rule changes of an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Redirect {
    /// The host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// `http` or `https`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The whole key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The prefix of the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_prefix: Option<String>,
    /// 301, 302, 303, 307 or 308; 301 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
}

/// Where a site lies.
pub(super) struct Site {
    /// What stands before its keys in a path; empty on a host of its own.
    pub(super) base: String,
    /// The host name of the request.
    pub(super) host: Option<String>,
}

impl Settings {
    /// Reads them out of a bucket's settings (JSON).
    pub fn of(settings: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Stored {
            website: Option<Settings>,
        }
        serde_json::from_str::<Stored>(settings).ok()?.website
    }

    /// The first rule for a key that is asked for, or for the error that it led to.
    pub(super) fn rule(&self, key: &str, status: Option<u16>) -> Option<&Rule> {
        self.rules.iter().find(|rule| {
            rule.status == status && key.starts_with(rule.prefix.as_deref().unwrap_or_default())
        })
    }
}

impl Rule {
    /// Where the rule leads from a key.
    pub(super) fn location(&self, key: &str, site: &Site) -> String {
        let to = &self.redirect;
        let behind = self
            .prefix
            .as_deref()
            .and_then(|prefix| key.strip_prefix(prefix));
        let key = match (&to.key, &to.key_prefix) {
            (Some(key), _) => key.clone(),
            (None, Some(prefix)) => format!("{prefix}{}", behind.unwrap_or(key)),
            (None, None) => key.to_owned(),
        };
        let (key, base) = (encoded(&key), &site.base);
        let protocol = to.protocol.as_deref().unwrap_or("http");
        match (&to.host, &to.protocol, &site.host) {
            (Some(host), ..) => format!("{protocol}://{host}/{key}"),
            (None, Some(_), Some(host)) => format!("{protocol}://{host}{base}/{key}"),
            _ => format!("{base}/{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(prefix: &str, status: Option<u16>, redirect: Redirect) -> Rule {
        Rule {
            prefix: Some(prefix.into()),
            status,
            redirect,
        }
    }

    #[test]
    fn a_rule_leads_where_amazon_says() {
        let site = |base: &str| Site {
            base: base.into(),
            host: Some("films.web.home:8000".into()),
        };
        let some = |text: &str| Some(text.to_owned());
        let table = [
            (
                Redirect {
                    key_prefix: some("new/"),
                    ..Redirect::default()
                },
                "",
                "/new/a%20b",
            ),
            (
                Redirect {
                    key_prefix: some("new/"),
                    ..Redirect::default()
                },
                "/-/web/films",
                "/-/web/films/new/a%20b",
            ),
            (
                Redirect {
                    key: some("gone.html"),
                    ..Redirect::default()
                },
                "",
                "/gone.html",
            ),
            (
                Redirect {
                    host: some("other.org"),
                    ..Redirect::default()
                },
                "/-/web/films",
                "http://other.org/old/a%20b",
            ),
            (
                Redirect {
                    host: some("other.org"),
                    protocol: some("https"),
                    key: some("x"),
                    ..Redirect::default()
                },
                "",
                "https://other.org/x",
            ),
            (
                Redirect {
                    protocol: some("https"),
                    ..Redirect::default()
                },
                "",
                "https://films.web.home:8000/old/a%20b",
            ),
        ];
        for (redirect, base, place) in table {
            let rule = rule("old/", None, redirect);
            assert_eq!(rule.location("old/a b", &site(base)), place);
        }
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let to = |key: &str| Redirect {
            key: Some(key.into()),
            ..Redirect::default()
        };
        let settings = Settings {
            rules: vec![
                rule("old/", None, to("1")),
                rule("old/x", None, to("2")),
                rule("", Some(404), to("3")),
            ],
            ..Settings::default()
        };
        let leads = |key: &str, status| settings.rule(key, status)?.redirect.key.clone();
        assert_eq!(leads("old/x", None).as_deref(), Some("1"));
        assert_eq!(leads("new", None), None);
        assert_eq!(leads("new", Some(404)).as_deref(), Some("3"));
        assert_eq!(leads("new", Some(403)), None);
    }

    #[test]
    fn settings_read_what_they_wrote() {
        let settings = Settings {
            index: Some("index.html".into()),
            rules: vec![rule("a", None, Redirect::default())],
            ..Settings::default()
        };
        let stored = serde_json::json!({ "website": settings, "cors": [] }).to_string();
        assert_eq!(Settings::of(&stored), Some(settings));
        assert_eq!(Settings::of("{}"), None);
    }
}

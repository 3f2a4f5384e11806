//! Which changes go to which target: the lines of a bucket's notification configuration.

use serde::{Deserialize, Serialize};

use super::target::name_in;
use crate::catalog::{EventKind, EventRow};

/// The setting of a bucket that holds its rules.
pub const SETTING: &str = "notification";
/// What stands before the name of every event.
const HEAD: &str = "s3:";

/// What happened to an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Stored in one request, or by a resumable upload.
    Put,
    /// Stored by a form.
    Post,
    /// Copied.
    Copy,
    /// Put together from parts.
    Complete,
    /// An object, or a version of it, is gone.
    Delete,
    /// Hidden by a delete marker.
    Marker,
    /// Gone by a lifecycle rule.
    Expired,
    /// Hidden by a lifecycle rule.
    ExpiredMarker,
}

impl Change {
    const ALL: [Self; 8] = [
        Self::Put,
        Self::Post,
        Self::Copy,
        Self::Complete,
        Self::Delete,
        Self::Marker,
        Self::Expired,
        Self::ExpiredMarker,
    ];

    /// The name in records: as in configurations, without `s3:`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Put => "ObjectCreated:Put",
            Self::Post => "ObjectCreated:Post",
            Self::Copy => "ObjectCreated:Copy",
            Self::Complete => "ObjectCreated:CompleteMultipartUpload",
            Self::Delete => "ObjectRemoved:Delete",
            Self::Marker => "ObjectRemoved:DeleteMarkerCreated",
            Self::Expired => "LifecycleExpiration:Delete",
            Self::ExpiredMarker => "LifecycleExpiration:DeleteMarkerCreated",
        }
    }

    /// What a row of the outbox tells; `None` when it is not about an object's coming or going.
    pub(super) fn of(row: &EventRow, payload: &serde_json::Value) -> Option<Self> {
        let via = payload.get("via").and_then(serde_json::Value::as_str);
        match EventKind::parse(&row.kind)? {
            EventKind::ObjectCreated => Some(match via {
                Some("copy") => Self::Copy,
                Some("multipart") => Self::Complete,
                Some("post") => Self::Post,
                _ => Self::Put,
            }),
            EventKind::ObjectDeleted => {
                let by_rule = payload.get("lifecycle_rule").is_some();
                Some(match (via, by_rule) {
                    (Some("marker"), false) => Self::Marker,
                    (Some("marker"), true) => Self::ExpiredMarker,
                    (_, false) => Self::Delete,
                    (_, true) => Self::Expired,
                })
            }
            _ => None,
        }
    }

    /// Whether the event of a configuration means it.
    fn is_meant_by(self, event: &str) -> bool {
        let Some(event) = event.strip_prefix(HEAD) else {
            return false;
        };
        match event.strip_suffix('*') {
            Some(family) => self.as_str().starts_with(family),
            None => self.as_str() == event,
        }
    }
}

/// Whether an event may stand in a configuration: `s3:ObjectCreated:Put`, `s3:ObjectRemoved:*`, …
pub fn is_event(event: &str) -> bool {
    event.strip_suffix('*').is_none_or(|head| {
        let family = head.strip_prefix(HEAD).unwrap_or_default();
        family.ends_with(':') && family.len() > 1
    }) && Change::ALL.iter().any(|change| change.is_meant_by(event))
}

/// Which of the three shapes of Amazon's a rule was written in; it is shown again as it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// `QueueConfiguration`.
    Queue,
    /// `TopicConfiguration`.
    Topic,
    /// `CloudFunctionConfiguration`.
    Lambda,
}

/// One line of a configuration, as stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rule {
    /// Unique in its bucket; records carry it.
    pub id: String,
    /// Its shape.
    pub form: Form,
    /// Names the target.
    pub arn: String,
    /// Which changes.
    pub events: Vec<String>,
    /// Which keys, by their start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Which keys, by their end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
}

impl Rule {
    /// The target's name.
    pub fn target(&self) -> &str {
        name_in(&self.arn).unwrap_or_default()
    }

    /// Whether a change of a key is to be told.
    pub fn admits(&self, change: Change, key: &str) -> bool {
        let prefix = self.prefix.as_deref().unwrap_or_default();
        let suffix = self.suffix.as_deref().unwrap_or_default();
        key.starts_with(prefix)
            && key.ends_with(suffix)
            && self.events.iter().any(|event| change.is_meant_by(event))
    }

    /// Whether some change would be told to the same target by both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let common = Change::ALL.iter().any(|change| {
            let told = |rule: &Self| rule.events.iter().any(|event| change.is_meant_by(event));
            told(self) && told(other)
        });
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (a, b) = (text(&self.prefix), text(&other.prefix));
        let (c, d) = (text(&self.suffix), text(&other.suffix));
        self.target() == other.target()
            && common
            && (a.starts_with(&b) || b.starts_with(&a))
            && (c.ends_with(&d) || d.ends_with(&c))
    }
}

/// The rules in a bucket's settings (JSON); those that this version cannot read are none.
pub fn of_settings(settings: &str) -> Vec<Rule> {
    #[derive(Deserialize)]
    struct Settings {
        #[serde(default)]
        notification: Vec<Rule>,
    }
    match serde_json::from_str::<Settings>(settings) {
        Ok(settings) => settings.notification,
        Err(error) => {
            tracing::warn!(%error, "a bucket's notification rules are unreadable and count as none: {error}");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(events: &[&str], prefix: &str, suffix: &str) -> Rule {
        Rule {
            id: "r".into(),
            form: Form::Queue,
            arn: super::super::arn_of("hall"),
            events: events.iter().map(|&event| event.into()).collect(),
            prefix: Some(prefix.into()),
            suffix: Some(suffix.into()),
        }
    }

    #[test]
    fn events_are_named_one_by_one_or_by_family() {
        for known in [
            "s3:ObjectCreated:*",
            "s3:ObjectCreated:Put",
            "s3:ObjectCreated:CompleteMultipartUpload",
            "s3:ObjectRemoved:*",
            "s3:ObjectRemoved:DeleteMarkerCreated",
            "s3:LifecycleExpiration:*",
        ] {
            assert!(is_event(known), "{known}");
        }
        for unknown in [
            "",
            "*",
            "s3:*",
            "s3:Object*",
            "s3:ObjectCreated:P*",
            "s3:ObjectCreated",
            "ObjectCreated:Put",
            "s3:ObjectRestore:*",
            "s3:TestEvent",
        ] {
            assert!(!is_event(unknown), "{unknown}");
        }
    }

    #[test]
    fn a_rule_admits_by_event_prefix_and_suffix() {
        let films = rule(&["s3:ObjectCreated:*"], "films/", ".mp4");
        assert!(films.admits(Change::Copy, "films/a.mp4"));
        assert!(!films.admits(Change::Delete, "films/a.mp4"));
        assert!(!films.admits(Change::Put, "film/a.mp4"));
        assert!(!films.admits(Change::Put, "films/a.mkv"));
        let gone = rule(&["s3:ObjectRemoved:Delete"], "", "");
        assert!(gone.admits(Change::Delete, "x") && !gone.admits(Change::Marker, "x"));
    }

    #[test]
    fn rules_overlap_when_one_change_would_be_told_twice() {
        let table = [
            (
                rule(&["s3:ObjectCreated:*"], "", ""),
                rule(&["s3:ObjectCreated:Put"], "a/", ""),
                true,
            ),
            (
                rule(&["s3:ObjectCreated:*"], "a/", ""),
                rule(&["s3:ObjectCreated:*"], "b/", ""),
                false,
            ),
            (
                rule(&["s3:ObjectCreated:*"], "a/", ".x"),
                rule(&["s3:ObjectCreated:*"], "a/b", ".y"),
                false,
            ),
            (
                rule(&["s3:ObjectCreated:*"], "", ".x"),
                rule(&["s3:ObjectCreated:*"], "a/b", "q.x"),
                true,
            ),
            (
                rule(&["s3:ObjectCreated:Put"], "", ""),
                rule(&["s3:ObjectRemoved:*"], "", ""),
                false,
            ),
        ];
        for (one, other, expected) in table {
            assert_eq!(one.overlaps(&other), expected, "{one:?} {other:?}");
            assert_eq!(other.overlaps(&one), expected);
        }
        let elsewhere = Rule {
            arn: super::super::arn_of("attic"),
            ..rule(&["s3:ObjectCreated:*"], "", "")
        };
        assert!(!elsewhere.overlaps(&rule(&["s3:ObjectCreated:*"], "", "")));
    }
}

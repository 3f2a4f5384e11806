//! The rules: pure.

use serde::{Deserialize, Serialize};

use crate::kernel::Millis;
use crate::store::Tags;

const DAY_MS: Millis = 24 * 60 * 60 * 1000;

/// The rules of a bucket, as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleRules {
    /// In the order in which they were given.
    pub rules: Vec<LifecycleRule>,
}

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleRule {
    /// Unique in its bucket.
    pub id: String,
    /// Whether it is applied.
    pub enabled: bool,
    /// What it is about.
    #[serde(default)]
    pub filter: RuleFilter,
    /// Whether the prefix stood beside the actions, as it did before there were filters.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plain_prefix: bool,
    /// What becomes of objects that a plain read sees, and of delete markers with nothing beneath.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration: Option<Expiration>,
    /// What becomes of versions that were replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noncurrent: Option<NoncurrentExpiration>,
    /// Days after which an unfinished upload in parts is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_days: Option<u32>,
}

/// What a rule is about; all that is said must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleFilter {
    /// Keys that begin with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Objects with all of these tags.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
    /// Objects of more bytes than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_above: Option<u64>,
    /// Objects of fewer bytes than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_below: Option<u64>,
}

/// When an object that a plain read sees is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expiration {
    /// So many days after it was published, and then at the next midnight (UTC).
    Days(u32),
    /// At this midnight.
    DateMs(Millis),
    /// Never, but a delete marker with nothing beneath is removed at once, when `true`.
    DeleteMarker(bool),
}

/// When a version that was replaced is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoncurrentExpiration {
    /// So many days after it was replaced, and then at the next midnight (UTC).
    pub days: u32,
    /// Of the replaced versions, so many of the newest stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer: Option<u32>,
}

/// What a rule looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'f> {
    pub(super) key: &'f str,
    pub(super) size: u64,
    pub(super) tags: &'f Tags,
    pub(super) modified_ms: Millis,
}

impl RuleFilter {
    /// Whether it looks at what only an object has.
    pub fn needs_object(&self) -> bool {
        !self.tags.is_empty() || self.size_above.is_some() || self.size_below.is_some()
    }

    fn admits_key(&self, key: &str) -> bool {
        self.prefix.as_ref().is_none_or(|p| key.starts_with(p))
    }

    fn admits(&self, facts: &Facts<'_>) -> bool {
        self.admits_key(facts.key)
            && self.size_above.is_none_or(|size| facts.size > size)
            && self.size_below.is_none_or(|size| facts.size < size)
            && self
                .tags
                .iter()
                .all(|(key, value)| facts.tags.get(key) == Some(value))
    }
}

/// So many days later, and then at the next midnight (Amazon S3, "Lifecycle rules: based on an object's age").
fn after(from_ms: Millis, days: u32) -> Millis {
    let due_ms = from_ms.saturating_add(DAY_MS * Millis::from(days));
    due_ms.saturating_add(DAY_MS - 1).div_euclid(DAY_MS) * DAY_MS
}

impl LifecycleRules {
    /// Whether any rule is applied.
    pub fn is_active(&self) -> bool {
        self.rules.iter().any(|rule| rule.enabled)
    }

    /// The beginnings of all keys that any applied rule may be about, in order; none lies under another.
    pub(super) fn prefixes(&self) -> Vec<&str> {
        let applied = self.rules.iter().filter(|rule| rule.enabled);
        let mut all: Vec<&str> = applied
            .map(|rule| rule.filter.prefix.as_deref().unwrap_or_default())
            .collect();
        all.sort_unstable();
        // In this order a prefix stands before all that lies under it.
        all.dedup_by(|under, prefix| under.starts_with(*prefix));
        all
    }

    /// The earliest of what each applied rule says, with its id.
    fn earliest(&self, end: impl Fn(&LifecycleRule) -> Option<Millis>) -> Option<(Millis, &str)> {
        let ends = self.rules.iter().filter(|rule| rule.enabled);
        ends.filter_map(|rule| Some((end(rule)?, rule.id.as_str())))
            .min_by_key(|(at_ms, _)| *at_ms)
    }

    /// When an object that a plain read sees is over.
    pub(super) fn end_of_current(&self, facts: &Facts<'_>) -> Option<(Millis, &str)> {
        self.earliest(|rule| {
            let at_ms = match rule.expiration? {
                Expiration::Days(days) => after(facts.modified_ms, days),
                Expiration::DateMs(at_ms) => at_ms,
                Expiration::DeleteMarker(_) => return None,
            };
            rule.filter.admits(facts).then_some(at_ms)
        })
    }

    /// When a delete marker that hides nothing is over.
    pub(super) fn end_of_marker(&self, key: &str, made_ms: Millis) -> Option<(Millis, &str)> {
        self.earliest(|rule| {
            let at_ms = match rule.expiration? {
                Expiration::Days(days) => after(made_ms, days),
                Expiration::DateMs(at_ms) => at_ms,
                Expiration::DeleteMarker(true) => made_ms,
                Expiration::DeleteMarker(false) => return None,
            };
            (!rule.filter.needs_object() && rule.filter.admits_key(key)).then_some(at_ms)
        })
    }

    /// When a version is over that was replaced at `since_ms`, with `newer` replaced ones above it.
    pub(super) fn end_of_noncurrent(
        &self,
        facts: &Facts<'_>,
        since_ms: Millis,
        newer: u32,
    ) -> Option<(Millis, &str)> {
        self.earliest(|rule| {
            let ends = rule.noncurrent?;
            let spared = ends.newer.is_some_and(|kept| newer < kept);
            (!spared && rule.filter.admits(facts)).then(|| after(since_ms, ends.days))
        })
    }

    /// When an unfinished upload is over.
    pub(super) fn end_of_upload(&self, key: &str, begun_ms: Millis) -> Option<Millis> {
        let end = self.earliest(|rule| {
            let days = rule.abort_days?;
            rule.filter.admits_key(key).then(|| after(begun_ms, days))
        });
        end.map(|(at_ms, _)| at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21T10:00:00Z.
    const MORNING: Millis = 1_795_255_200_000;
    /// The midnight before it.
    const MIDNIGHT: Millis = MORNING - 10 * 3_600_000;

    fn facts<'f>(key: &'f str, size: u64, tags: &'f Tags) -> Facts<'f> {
        Facts {
            key,
            size,
            tags,
            modified_ms: MORNING,
        }
    }

    fn rule(id: &str, prefix: &str) -> LifecycleRule {
        LifecycleRule {
            id: id.into(),
            enabled: true,
            filter: RuleFilter {
                prefix: Some(prefix.into()),
                ..RuleFilter::default()
            },
            ..LifecycleRule::default()
        }
    }

    #[test]
    fn days_end_at_the_midnight_after() {
        assert_eq!(MIDNIGHT % DAY_MS, 0);
        assert_eq!(after(MORNING, 1), MIDNIGHT + 2 * DAY_MS);
        assert_eq!(after(MIDNIGHT, 1), MIDNIGHT + DAY_MS);
        assert_eq!(after(MIDNIGHT + 1, 1), MIDNIGHT + 2 * DAY_MS);
    }

    #[test]
    fn the_earliest_rule_that_is_applied_decides() {
        let none = Tags::new();
        let mut late = rule("late", "");
        late.expiration = Some(Expiration::Days(9));
        let mut soon = rule("soon", "tmp/");
        soon.expiration = Some(Expiration::Days(1));
        let mut off = rule("off", "");
        off.expiration = Some(Expiration::DateMs(0));
        off.enabled = false;
        let rules = LifecycleRules {
            rules: vec![late, soon, off],
        };
        let of = |key| rules.end_of_current(&facts(key, 1, &none));
        assert_eq!(of("tmp/a"), Some((MIDNIGHT + 2 * DAY_MS, "soon")));
        assert_eq!(of("a"), Some((MIDNIGHT + 10 * DAY_MS, "late")));
        assert!(rules.is_active());
    }

    #[test]
    fn only_what_rules_are_about_is_walked() {
        let mut off = rule("off", "");
        off.enabled = false;
        let rules = LifecycleRules {
            rules: ["b/x", "a/", "b", "a/c/", "ab", "b"]
                .map(|prefix| rule(prefix, prefix))
                .into_iter()
                .chain([off])
                .collect(),
        };
        assert_eq!(rules.prefixes(), ["a/", "ab", "b"]);
        let all = LifecycleRules {
            rules: vec![
                rule("a", "a"),
                LifecycleRule {
                    enabled: true,
                    ..LifecycleRule::default()
                },
            ],
        };
        assert_eq!(all.prefixes(), [""]);
    }

    #[test]
    fn everything_that_a_filter_says_must_hold() {
        let tags = |pairs: &[(&str, &str)]| -> Tags {
            let pair = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
            pairs.iter().map(pair).collect()
        };
        let filter = RuleFilter {
            prefix: Some("a/".into()),
            tags: tags(&[("x", "1"), ("y", "2")]),
            size_above: Some(10),
            size_below: Some(20),
        };
        let full = tags(&[("x", "1"), ("y", "2"), ("z", "3")]);
        assert!(filter.admits(&facts("a/b", 11, &full)));
        assert!(!filter.admits(&facts("b/b", 11, &full)));
        assert!(!filter.admits(&facts("a/b", 10, &full)));
        assert!(!filter.admits(&facts("a/b", 20, &full)));
        assert!(!filter.admits(&facts("a/b", 11, &tags(&[("x", "1"), ("y", "3")]))));
        assert!(RuleFilter::default().admits(&facts("", 0, &Tags::new())));
    }

    #[test]
    fn replaced_versions_end_by_age_and_by_rank() {
        let none = Tags::new();
        let mut some = rule("old", "");
        some.noncurrent = Some(NoncurrentExpiration {
            days: 2,
            newer: Some(3),
        });
        let rules = LifecycleRules { rules: vec![some] };
        let facts = facts("a", 1, &none);
        assert_eq!(rules.end_of_noncurrent(&facts, MORNING, 2), None);
        assert_eq!(
            rules.end_of_noncurrent(&facts, MORNING, 3),
            Some((MIDNIGHT + 3 * DAY_MS, "old"))
        );
        assert_eq!(rules.end_of_current(&facts), None);
    }

    #[test]
    fn a_lone_marker_ends_and_uploads_do() {
        let mut markers = rule("markers", "a");
        markers.expiration = Some(Expiration::DeleteMarker(true));
        markers.abort_days = Some(1);
        let mut tagged = rule("tagged", "");
        tagged.expiration = Some(Expiration::Days(1));
        tagged.filter.tags.insert("x".into(), "1".into());
        let rules = LifecycleRules {
            rules: vec![markers, tagged],
        };
        assert_eq!(
            rules.end_of_marker("a", MORNING),
            Some((MORNING, "markers"))
        );
        assert_eq!(rules.end_of_marker("b", MORNING), None);
        assert_eq!(
            rules.end_of_upload("a", MORNING),
            Some(MIDNIGHT + 2 * DAY_MS)
        );
        assert_eq!(rules.end_of_upload("b", MORNING), None);
    }
}

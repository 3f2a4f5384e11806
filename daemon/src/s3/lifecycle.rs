//! The lifecycle rules of a bucket: in, checked, out again, and the header that tells when an object will be gone.

use std::collections::BTreeSet;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{
    AbortIncompleteMultipartUpload, DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput,
    ExpirationStatus, GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput,
    LifecycleExpiration, LifecycleRule as WireRule, LifecycleRuleAndOperator, LifecycleRuleFilter,
    NoncurrentVersionExpiration, PutBucketLifecycleConfigurationInput,
    PutBucketLifecycleConfigurationOutput, Tag,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::bucket_name;
use super::error::{self, say};
use super::headers;
use super::operations::Operations;
use super::wire::{millis, timestamp};
use crate::http::condition::http_date;
use crate::kernel::Id;
use crate::kernel::limits::OBJECT_KEY_BYTES_MAX;
use crate::store::{
    Expiration, LifecycleRule, LifecycleRules, NoncurrentExpiration, Object, RuleFilter, Tags,
};

/// Rules of one bucket (Amazon S3, PutBucketLifecycleConfiguration).
const RULES_MAX: usize = 1000;
/// Longest id of a rule, in characters.
const ID_CHARS_MAX: usize = 255;
/// Replaced versions that a rule may spare.
const NEWER_MAX: i32 = 100;
/// What the name of a rule keeps in the header.
const NAME: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

fn malformed(text: impl Into<String>) -> S3Error {
    say(S3ErrorCode::MalformedXML, text.into())
}

fn argument(text: impl Into<String>) -> S3Error {
    say(S3ErrorCode::InvalidArgument, text.into())
}

fn request(text: impl Into<String>) -> S3Error {
    say(S3ErrorCode::InvalidRequest, text.into())
}

fn days(sent: Option<i32>, of: &str) -> S3Result<u32> {
    let sent = sent.ok_or_else(|| malformed(format!("{of} names no days")))?;
    u32::try_from(sent)
        .ok()
        .filter(|days| *days > 0)
        .ok_or_else(|| argument(format!("the days of {of} must be a positive integer")))
}

fn read_filter(sent: LifecycleRuleFilter) -> S3Result<RuleFilter> {
    let and = sent.and.unwrap_or_default();
    let one = |a: Option<String>, b: Option<String>| match (a, b) {
        // Several at once without And are taken as if it stood there; the longer of two prefixes says both.
        (Some(a), Some(b)) if a.starts_with(&b) => Ok(Some(a)),
        (Some(a), Some(b)) if b.starts_with(&a) => Ok(Some(b)),
        (Some(_), Some(_)) => Err(malformed("a filter has two prefixes")),
        (a, b) => Ok(a.or(b)),
    };
    let size = |sent: Option<i64>| {
        let read = |n| u64::try_from(n).map_err(|_| argument("the size of a filter is negative"));
        sent.map(read).transpose()
    };
    let prefix = one(sent.prefix, and.prefix)?;
    if prefix
        .as_ref()
        .is_some_and(|p| p.len() > OBJECT_KEY_BYTES_MAX)
    {
        return Err(argument(format!(
            "the prefix of a rule has at most {OBJECT_KEY_BYTES_MAX} bytes"
        )));
    }
    let tags = sent.tag.into_iter().chain(and.tags.into_iter().flatten());
    let tags = headers::checked(
        tags.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())),
    )?;
    let above = sent
        .object_size_greater_than
        .or(and.object_size_greater_than);
    let below = sent.object_size_less_than.or(and.object_size_less_than);
    let filter = RuleFilter {
        prefix,
        tags,
        size_above: size(above)?,
        size_below: size(below)?,
    };
    if let (Some(above), Some(below)) = (filter.size_above, filter.size_below)
        && above >= below
    {
        return Err(request(
            "ObjectSizeGreaterThan must be less than ObjectSizeLessThan",
        ));
    }
    Ok(filter)
}

fn read_expiration(sent: LifecycleExpiration) -> S3Result<Expiration> {
    match (sent.days, sent.date, sent.expired_object_delete_marker) {
        (Some(count), None, None) => Ok(Expiration::Days(days(Some(count), "Expiration")?)),
        (None, Some(date), None) => match millis(date) {
            at_ms if at_ms.rem_euclid(DAY_MS) == 0 => Ok(Expiration::DateMs(at_ms)),
            _ => Err(argument("'Date' must be at midnight GMT")),
        },
        (None, None, Some(marker)) => Ok(Expiration::DeleteMarker(marker)),
        _ => Err(malformed(
            "an Expiration has exactly one of Days, Date and ExpiredObjectDeleteMarker",
        )),
    }
}

fn read_noncurrent(sent: &NoncurrentVersionExpiration) -> S3Result<NoncurrentExpiration> {
    let newer = sent.newer_noncurrent_versions;
    if newer.is_some_and(|n| !(1..=NEWER_MAX).contains(&n)) {
        return Err(argument(format!(
            "NewerNoncurrentVersions is 1 to {NEWER_MAX}"
        )));
    }
    Ok(NoncurrentExpiration {
        days: days(sent.noncurrent_days, "NoncurrentVersionExpiration")?,
        newer: newer.and_then(|n| u32::try_from(n).ok()),
    })
}

fn read_rule(sent: WireRule) -> S3Result<LifecycleRule> {
    let id = sent.id.filter(|id| !id.is_empty());
    let id = id.unwrap_or_else(|| Id::random().to_string());
    if id.chars().count() > ID_CHARS_MAX {
        return Err(argument(format!(
            "the id of a rule has at most {ID_CHARS_MAX} characters"
        )));
    }
    let enabled = match sent.status.as_str() {
        ExpirationStatus::ENABLED => true,
        ExpirationStatus::DISABLED => false,
        _ => return Err(malformed("the status of a rule is Enabled or Disabled")),
    };
    let moves = sent.transitions.is_some_and(|list| !list.is_empty())
        || sent
            .noncurrent_version_transitions
            .is_some_and(|list| !list.is_empty());
    if moves {
        return Err(say(
            S3ErrorCode::InvalidStorageClass,
            "there is only one storage class, so nothing can move to another: remove the Transition, or end objects with an Expiration",
        ));
    }
    let plain_prefix = sent.prefix.is_some();
    let filter = match (sent.filter, sent.prefix) {
        (Some(filter), None) => filter,
        (None, Some(prefix)) => LifecycleRuleFilter {
            prefix: Some(prefix),
            ..LifecycleRuleFilter::default()
        },
        _ => {
            return Err(malformed(
                "a rule has a Filter, or a Prefix of the old way, and not both",
            ));
        }
    };
    let rule = LifecycleRule {
        id,
        enabled,
        filter: read_filter(filter)?,
        plain_prefix,
        expiration: sent.expiration.map(read_expiration).transpose()?,
        noncurrent: sent
            .noncurrent_version_expiration
            .as_ref()
            .map(read_noncurrent)
            .transpose()?,
        abort_days: sent
            .abort_incomplete_multipart_upload
            .map(|abort| {
                days(
                    abort.days_after_initiation,
                    "AbortIncompleteMultipartUpload",
                )
            })
            .transpose()?,
    };
    if rule.expiration.is_none() && rule.noncurrent.is_none() && rule.abort_days.is_none() {
        return Err(request(
            "At least one action needs to be specified in a rule",
        ));
    }
    let about_no_object =
        rule.abort_days.is_some() || matches!(rule.expiration, Some(Expiration::DeleteMarker(_)));
    if about_no_object && rule.filter.needs_object() {
        return Err(request(
            "AbortIncompleteMultipartUpload and ExpiredObjectDeleteMarker cannot be specified with tags or sizes: uploads and delete markers have none",
        ));
    }
    Ok(rule)
}

fn read(sent: Vec<WireRule>) -> S3Result<LifecycleRules> {
    if sent.is_empty() || sent.len() > RULES_MAX {
        return Err(malformed(format!("a bucket has 1 to {RULES_MAX} rules")));
    }
    let rules: Vec<_> = sent.into_iter().map(read_rule).collect::<S3Result<_>>()?;
    let mut ids = BTreeSet::new();
    for rule in &rules {
        if !ids.insert(rule.id.as_str()) {
            return Err(argument(format!(
                "Rule ID must be unique. Found same ID for more than one rule: {}",
                rule.id
            )));
        }
    }
    Ok(LifecycleRules { rules })
}

fn show_filter(filter: RuleFilter) -> LifecycleRuleFilter {
    let size = |bytes: Option<u64>| bytes.and_then(|n| i64::try_from(n).ok());
    let (above, below) = (size(filter.size_above), size(filter.size_below));
    let tags = |tags: Tags| -> Vec<Tag> {
        let tag = |(key, value)| Tag {
            key: Some(key),
            value: Some(value),
        };
        tags.into_iter().map(tag).collect()
    };
    let said = usize::from(filter.prefix.is_some())
        + filter.tags.len()
        + usize::from(above.is_some())
        + usize::from(below.is_some());
    if said > 1 {
        return LifecycleRuleFilter {
            and: Some(LifecycleRuleAndOperator {
                object_size_greater_than: above,
                object_size_less_than: below,
                prefix: filter.prefix,
                tags: (!filter.tags.is_empty()).then(|| tags(filter.tags)),
            }),
            ..LifecycleRuleFilter::default()
        };
    }
    LifecycleRuleFilter {
        and: None,
        object_size_greater_than: above,
        object_size_less_than: below,
        prefix: filter.prefix,
        tag: tags(filter.tags).pop(),
    }
}

fn show(rule: LifecycleRule) -> WireRule {
    let count = |n: u32| i32::try_from(n).ok();
    let expiration = rule.expiration.map(|expiration| match expiration {
        Expiration::Days(days) => LifecycleExpiration {
            days: count(days),
            ..LifecycleExpiration::default()
        },
        Expiration::DateMs(at_ms) => LifecycleExpiration {
            date: Some(timestamp(at_ms)),
            ..LifecycleExpiration::default()
        },
        Expiration::DeleteMarker(marker) => LifecycleExpiration {
            expired_object_delete_marker: Some(marker),
            ..LifecycleExpiration::default()
        },
    });
    let noncurrent = rule.noncurrent.map(|ends| NoncurrentVersionExpiration {
        newer_noncurrent_versions: ends.newer.and_then(count),
        noncurrent_days: count(ends.days),
    });
    let (prefix, filter) = if rule.plain_prefix {
        (rule.filter.prefix, None)
    } else {
        (None, Some(show_filter(rule.filter)))
    };
    WireRule {
        abort_incomplete_multipart_upload: rule.abort_days.map(|days| {
            AbortIncompleteMultipartUpload {
                days_after_initiation: count(days),
            }
        }),
        expiration,
        filter,
        id: Some(rule.id),
        noncurrent_version_expiration: noncurrent,
        noncurrent_version_transitions: None,
        prefix,
        status: ExpirationStatus::from_static(if rule.enabled {
            ExpirationStatus::ENABLED
        } else {
            ExpirationStatus::DISABLED
        }),
        transitions: None,
    }
}

impl Operations {
    /// The value of `x-amz-expiration`: when the rules will end an object, and which of them.
    ///
    /// It is a courtesy: when the rules cannot be read now, nothing is said.
    pub(super) async fn expiration(&self, object: &Object) -> Option<String> {
        let expiry = self.store.expiry_of(object).await.ok().flatten()?;
        let rule = utf8_percent_encode(&expiry.rule, NAME);
        Some(format!(
            "expiry-date=\"{}\", rule-id=\"{rule}\"",
            http_date(expiry.at_ms)
        ))
    }

    /// The rules of a bucket.
    pub(super) async fn get_lifecycle(
        &self,
        request: S3Request<GetBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        let rules = self.store.lifecycle(&bucket).await.map_err(error::of)?;
        let rules = rules.ok_or_else(|| {
            say(
                S3ErrorCode::NoSuchLifecycleConfiguration,
                "The lifecycle configuration does not exist",
            )
        })?;
        Ok(S3Response::new(GetBucketLifecycleConfigurationOutput {
            rules: Some(rules.rules.into_iter().map(show).collect()),
            transition_default_minimum_object_size: None,
        }))
    }

    /// Replaces the rules of a bucket.
    pub(super) async fn put_lifecycle(
        &self,
        request: S3Request<PutBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        let sent = request
            .input
            .lifecycle_configuration
            .ok_or_else(|| malformed("the request has no LifecycleConfiguration"))?;
        let rules = read(sent.rules)?;
        self.store
            .set_lifecycle(&bucket, Some(&rules))
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(
            PutBucketLifecycleConfigurationOutput::default(),
        ))
    }

    /// Removes the rules of a bucket.
    pub(super) async fn delete_lifecycle(
        &self,
        request: S3Request<DeleteBucketLifecycleInput>,
    ) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        self.store
            .set_lifecycle(&bucket, None)
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(DeleteBucketLifecycleOutput::default()))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn rule(id: &str) -> WireRule {
        WireRule {
            abort_incomplete_multipart_upload: None,
            expiration: Some(LifecycleExpiration {
                days: Some(1),
                ..LifecycleExpiration::default()
            }),
            filter: None,
            id: Some(id.to_owned()),
            noncurrent_version_expiration: None,
            noncurrent_version_transitions: None,
            prefix: Some("a/".to_owned()),
            status: ExpirationStatus::from_static("Enabled"),
            transitions: None,
        }
    }

    fn refused(rules: Vec<WireRule>) -> String {
        read(rules).unwrap_err().code().as_str().to_owned()
    }

    fn tag(key: &str) -> Tag {
        Tag {
            key: Some(key.to_owned()),
            value: Some("1".to_owned()),
        }
    }

    #[test]
    fn rules_come_back_as_they_went_in() {
        let mut filtered = rule("filtered");
        filtered.prefix = None;
        filtered.filter = Some(LifecycleRuleFilter {
            and: Some(LifecycleRuleAndOperator {
                object_size_greater_than: Some(5),
                object_size_less_than: None,
                prefix: Some("b/".to_owned()),
                tags: Some(vec![tag("x"), tag("y")]),
            }),
            ..LifecycleRuleFilter::default()
        });
        let mut one_tag = rule("one tag");
        one_tag.prefix = None;
        one_tag.filter = Some(LifecycleRuleFilter {
            tag: Some(tag("x")),
            ..LifecycleRuleFilter::default()
        });
        let mut all = rule("all");
        all.prefix = None;
        all.filter = Some(LifecycleRuleFilter::default());
        all.expiration = Some(LifecycleExpiration {
            date: Some(timestamp(20_000 * DAY_MS)),
            ..LifecycleExpiration::default()
        });
        all.noncurrent_version_expiration = Some(NoncurrentVersionExpiration {
            newer_noncurrent_versions: Some(3),
            noncurrent_days: Some(2),
        });
        all.abort_incomplete_multipart_upload = Some(AbortIncompleteMultipartUpload {
            days_after_initiation: Some(7),
        });
        let sent = vec![rule("plain"), filtered, one_tag, all];
        let stored = read(sent.clone()).unwrap();
        let text = serde_json::to_string(&stored).unwrap();
        let stored: LifecycleRules = serde_json::from_str(&text).unwrap();
        let back: Vec<_> = stored.rules.into_iter().map(show).collect();
        assert_eq!(back, sent);
    }

    #[test]
    fn rules_that_say_too_little_too_much_or_nonsense_are_refused() {
        let with = |change: &dyn Fn(&mut WireRule)| {
            let mut one = rule("r");
            change(&mut one);
            refused(vec![one])
        };
        let expire = |days, date, marker| LifecycleExpiration {
            date,
            days,
            expired_object_delete_marker: marker,
        };
        assert_eq!(refused(Vec::new()), "MalformedXML");
        assert_eq!(refused(vec![rule("r"), rule("r")]), "InvalidArgument");
        assert_eq!(refused(vec![rule(&"r".repeat(256))]), "InvalidArgument");
        let sent = with(&|r| r.status = ExpirationStatus::from("enabled".to_owned()));
        assert_eq!(sent, "MalformedXML");
        assert_eq!(with(&|r| r.prefix = None), "MalformedXML");
        let sent = with(&|r| r.filter = Some(LifecycleRuleFilter::default()));
        assert_eq!(sent, "MalformedXML", "a filter and a prefix");
        assert_eq!(with(&|r| r.expiration = None), "InvalidRequest");
        for (days, date, marker, code) in [
            (Some(0), None, None, "InvalidArgument"),
            (Some(-1), None, None, "InvalidArgument"),
            (None, Some(timestamp(1)), None, "InvalidArgument"),
            (Some(1), None, Some(true), "MalformedXML"),
            (None, None, None, "MalformedXML"),
        ] {
            let sent = with(&|r| r.expiration = Some(expire(days, date.clone(), marker)));
            assert_eq!(sent, code, "{days:?} {marker:?}");
        }
        let sent = with(&|r| {
            r.transitions = Some(vec![s3s::dto::Transition::default()]);
        });
        assert_eq!(sent, "InvalidStorageClass");
        let tagged = |r: &mut WireRule| {
            r.prefix = None;
            r.filter = Some(LifecycleRuleFilter {
                tag: Some(tag("x")),
                ..LifecycleRuleFilter::default()
            });
        };
        let sent = with(&|r| {
            tagged(r);
            r.expiration = Some(expire(None, None, Some(true)));
        });
        assert_eq!(sent, "InvalidRequest");
        let sent = with(&|r| {
            tagged(r);
            r.abort_incomplete_multipart_upload = Some(AbortIncompleteMultipartUpload {
                days_after_initiation: Some(1),
            });
        });
        assert_eq!(sent, "InvalidRequest");
        let sent = with(&|r| {
            r.noncurrent_version_expiration = Some(NoncurrentVersionExpiration {
                newer_noncurrent_versions: Some(101),
                noncurrent_days: Some(1),
            });
        });
        assert_eq!(sent, "InvalidArgument");
    }
}

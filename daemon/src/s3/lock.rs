//! Object lock: the setting of a bucket, retention and legal hold of a version, and the headers of a write.

use http::HeaderMap;
use s3s::dto::{
    DefaultRetention as WireDefault, GetObjectLegalHoldInput, GetObjectLegalHoldOutput,
    GetObjectLockConfigurationInput, GetObjectLockConfigurationOutput, GetObjectRetentionInput,
    GetObjectRetentionOutput, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockLegalHold,
    ObjectLockLegalHoldStatus, ObjectLockRetention, ObjectLockRetentionMode, ObjectLockRule,
    PutObjectLegalHoldInput, PutObjectLegalHoldOutput, PutObjectLockConfigurationInput,
    PutObjectLockConfigurationOutput, PutObjectRetentionInput, PutObjectRetentionOutput, Timestamp,
    TimestampFormat,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::{bucket_name, object_key};
use super::decide::{Decider, decider};
use super::error::{self, bad_request, say};
use super::get::missing;
use super::operations::Operations;
use super::wire::{millis, timestamp, version_id};
use crate::kernel::{BucketName, Millis, ObjectKey};
use crate::store::{
    BucketLock, DefaultRetention, LOCK_YEARS_MAX, LockChange, Object, ObjectLock, Period,
    Retention, RetentionMode, StoreError,
};

/// What a header or document says of the moment until which a version is kept.
fn future(until: Timestamp, now_ms: Millis) -> S3Result<Millis> {
    let until_ms = millis(until);
    if until_ms <= now_ms {
        return Err(say(
            S3ErrorCode::InvalidArgument,
            "The retain until date must be in the future!",
        ));
    }
    Ok(until_ms)
}

/// The lock that the headers of a write ask for; `None` when they say nothing of it.
pub(super) fn asked(headers: &HeaderMap, now_ms: Millis) -> S3Result<Option<ObjectLock>> {
    let invalid = |text: &'static str| say(S3ErrorCode::InvalidArgument, text);
    let text = |name: &str| {
        headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let (mode, until) = (
        text("x-amz-object-lock-mode"),
        text("x-amz-object-lock-retain-until-date"),
    );
    let retention = match (mode, until) {
        (None, None) => None,
        (Some(mode), Some(until)) => {
            let mode = RetentionMode::parse(&mode)
                .ok_or_else(|| invalid("x-amz-object-lock-mode is GOVERNANCE or COMPLIANCE"))?;
            let until = Timestamp::parse(TimestampFormat::DateTime, &until).map_err(|_| {
                invalid("x-amz-object-lock-retain-until-date is a time as in 2030-01-01T00:00:00Z")
            })?;
            Some(Retention {
                mode,
                until_ms: future(until, now_ms)?,
            })
        }
        _ => {
            return Err(invalid(
                "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
            ));
        }
    };
    let legal_hold = match text("x-amz-object-lock-legal-hold").as_deref() {
        None => None,
        Some(ObjectLockLegalHoldStatus::ON) => Some(true),
        Some(ObjectLockLegalHoldStatus::OFF) => Some(false),
        Some(_) => return Err(invalid("x-amz-object-lock-legal-hold is ON or OFF")),
    };
    let lock = ObjectLock {
        retention,
        legal_hold,
    };
    Ok((lock != ObjectLock::default()).then_some(lock))
}

/// Whether the caller bypasses governance mode: only who has the right may say so.
pub(super) fn bypass(
    decider: &Decider,
    said: Option<bool>,
    bucket: &BucketName,
    key: &ObjectKey,
) -> S3Result<bool> {
    if said != Some(true) {
        return Ok(false);
    }
    let decision = decider.may_bypass(bucket, key);
    if decision.allow {
        Ok(true)
    } else {
        Err(say(S3ErrorCode::AccessDenied, decision.reason))
    }
}

/// The status of a hold, as answers have it.
pub(super) fn hold_out(on: bool) -> ObjectLockLegalHoldStatus {
    ObjectLockLegalHoldStatus::from_static(if on {
        ObjectLockLegalHoldStatus::ON
    } else {
        ObjectLockLegalHoldStatus::OFF
    })
}

fn malformed(text: &'static str) -> s3s::S3Error {
    say(S3ErrorCode::MalformedXML, text)
}

fn mode(sent: Option<&ObjectLockRetentionMode>) -> S3Result<RetentionMode> {
    sent.and_then(|mode| RetentionMode::parse(mode.as_str()))
        .ok_or_else(|| malformed("the mode of a retention is GOVERNANCE or COMPLIANCE"))
}

fn configuration(sent: Option<ObjectLockConfiguration>) -> S3Result<BucketLock> {
    let sent = sent.ok_or_else(|| malformed("the request has no ObjectLockConfiguration"))?;
    let enabled = sent
        .object_lock_enabled
        .as_ref()
        .map(ObjectLockEnabled::as_str);
    if enabled != Some(ObjectLockEnabled::ENABLED) {
        return Err(malformed("ObjectLockEnabled can only be Enabled"));
    }
    let Some(rule) = sent.rule else {
        return Ok(BucketLock::default());
    };
    let rule = rule
        .default_retention
        .ok_or_else(|| malformed("a Rule names a DefaultRetention"))?;
    let mode = mode(rule.mode.as_ref())?;
    let count = |n: i32, most: u32| {
        u32::try_from(n)
            .ok()
            .filter(|n| (1..=most).contains(n))
            .ok_or_else(|| {
                bad_request(
                    "InvalidRetentionPeriod",
                    format!("a default retention is 1 to {most} of its unit, not {n}"),
                )
            })
    };
    let period = match (rule.days, rule.years) {
        (Some(days), None) => Period::Days(count(days, 365 * LOCK_YEARS_MAX)?),
        (None, Some(years)) => Period::Years(count(years, LOCK_YEARS_MAX)?),
        _ => return Err(malformed("a DefaultRetention has either Days or Years")),
    };
    Ok(BucketLock {
        default_retention: Some(DefaultRetention { mode, period }),
    })
}

fn shown(lock: BucketLock) -> ObjectLockConfiguration {
    let rule = lock.default_retention.map(|default| {
        let (days, years) = match default.period {
            Period::Days(days) => (i32::try_from(days).ok(), None),
            Period::Years(years) => (None, i32::try_from(years).ok()),
        };
        ObjectLockRule {
            default_retention: Some(WireDefault {
                days,
                mode: Some(ObjectLockRetentionMode::from_static(default.mode.as_str())),
                years,
            }),
        }
    });
    ObjectLockConfiguration {
        object_lock_enabled: Some(ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED)),
        rule,
    }
}

fn unset() -> s3s::S3Error {
    say(
        S3ErrorCode::NoSuchObjectLockConfiguration,
        "The specified object does not have a ObjectLock configuration",
    )
}

impl Operations {
    /// The lock that a write asks for, refused before its body is read where the bucket locks nothing.
    pub(super) async fn lock_asked(
        &self,
        headers: &HeaderMap,
        bucket: &BucketName,
    ) -> S3Result<Option<ObjectLock>> {
        let asked = asked(headers, self.store.clock().now_ms())?;
        if asked.is_some() {
            self.expect_lock(bucket).await?;
        }
        Ok(asked)
    }

    async fn expect_lock(&self, bucket: &BucketName) -> S3Result<BucketLock> {
        let lock = self.store.bucket_lock(bucket).await.map_err(error::of)?;
        lock.ok_or_else(|| error::of(StoreError::NotLockable(bucket.to_string())))
    }

    async fn lockable(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<&str>,
        expected_owner: Option<&str>,
    ) -> S3Result<Object> {
        self.expect_owner(bucket, expected_owner).await?;
        self.expect_lock(bucket).await?;
        let version = version_id(version)?;
        self.store
            .head(bucket, key, version.as_ref())
            .await
            .map_err(|e| missing(e, version.is_some()))
    }

    /// Whether and how a bucket locks.
    pub(super) async fn get_lock(
        &self,
        request: S3Request<GetObjectLockConfigurationInput>,
    ) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        let lock = self.store.bucket_lock(&bucket).await.map_err(error::of)?;
        let lock = lock.ok_or_else(|| {
            say(
                S3ErrorCode::ObjectLockConfigurationNotFoundError,
                "Object Lock configuration does not exist for this bucket",
            )
        })?;
        Ok(S3Response::new(GetObjectLockConfigurationOutput {
            object_lock_configuration: Some(shown(lock)),
        }))
    }

    /// Switches locking on, or changes what new versions get.
    pub(super) async fn put_lock(
        &self,
        request: S3Request<PutObjectLockConfigurationInput>,
    ) -> S3Result<S3Response<PutObjectLockConfigurationOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        let lock = configuration(request.input.object_lock_configuration)?;
        self.store
            .set_bucket_lock(&bucket, lock)
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
    }

    /// Until when a version is kept.
    pub(super) async fn get_retention(
        &self,
        request: S3Request<GetObjectRetentionInput>,
    ) -> S3Result<S3Response<GetObjectRetentionOutput>> {
        let input = request.input;
        let (bucket, key) = (bucket_name(&input.bucket)?, object_key(&input.key)?);
        let (version, owner) = (
            input.version_id.as_deref(),
            input.expected_bucket_owner.as_deref(),
        );
        let object = self.lockable(&bucket, &key, version, owner).await?;
        let kept = object.extras.lock.and_then(|lock| lock.retention);
        let kept = kept.ok_or_else(unset)?;
        Ok(S3Response::new(GetObjectRetentionOutput {
            retention: Some(ObjectLockRetention {
                mode: Some(ObjectLockRetentionMode::from_static(kept.mode.as_str())),
                retain_until_date: Some(timestamp(kept.until_ms)),
            }),
        }))
    }

    /// Keeps a version for a time; an empty document ends what governance mode keeps.
    pub(super) async fn put_retention(
        &self,
        request: S3Request<PutObjectRetentionInput>,
    ) -> S3Result<S3Response<PutObjectRetentionOutput>> {
        let decider = decider(&request);
        let input = request.input;
        let (bucket, key) = (bucket_name(&input.bucket)?, object_key(&input.key)?);
        let bypass = bypass(&decider, input.bypass_governance_retention, &bucket, &key)?;
        let (version, owner) = (
            input.version_id.as_deref(),
            input.expected_bucket_owner.as_deref(),
        );
        let object = self.lockable(&bucket, &key, version, owner).await?;
        let sent = input.retention.unwrap_or_default();
        let retention = match (&sent.mode, sent.retain_until_date) {
            (None, None) => None,
            (sent, Some(until)) => Some(Retention {
                mode: mode(sent.as_ref())?,
                until_ms: future(until, self.store.clock().now_ms())?,
            }),
            (Some(_), None) => return Err(malformed("a retention has a RetainUntilDate")),
        };
        self.store
            .change_lock(&object, LockChange::Retain { retention, bypass })
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(PutObjectRetentionOutput::default()))
    }

    /// Whether a version is held.
    pub(super) async fn get_hold(
        &self,
        request: S3Request<GetObjectLegalHoldInput>,
    ) -> S3Result<S3Response<GetObjectLegalHoldOutput>> {
        let input = request.input;
        let (bucket, key) = (bucket_name(&input.bucket)?, object_key(&input.key)?);
        let (version, owner) = (
            input.version_id.as_deref(),
            input.expected_bucket_owner.as_deref(),
        );
        let object = self.lockable(&bucket, &key, version, owner).await?;
        let hold = object.extras.lock.and_then(|lock| lock.legal_hold);
        Ok(S3Response::new(GetObjectLegalHoldOutput {
            legal_hold: Some(ObjectLockLegalHold {
                status: Some(hold_out(hold.ok_or_else(unset)?)),
            }),
        }))
    }

    /// Holds a version until further notice, or lifts the hold, which asks for the right to bypass.
    pub(super) async fn put_hold(
        &self,
        request: S3Request<PutObjectLegalHoldInput>,
    ) -> S3Result<S3Response<PutObjectLegalHoldOutput>> {
        let decider = decider(&request);
        let input = request.input;
        let (bucket, key) = (bucket_name(&input.bucket)?, object_key(&input.key)?);
        let status = input.legal_hold.and_then(|hold| hold.status);
        let on = match status.as_ref().map(ObjectLockLegalHoldStatus::as_str) {
            Some(ObjectLockLegalHoldStatus::ON) => true,
            Some(ObjectLockLegalHoldStatus::OFF) => false,
            _ => return Err(malformed("the status of a legal hold is ON or OFF")),
        };
        let (version, owner) = (
            input.version_id.as_deref(),
            input.expected_bucket_owner.as_deref(),
        );
        let object = self.lockable(&bucket, &key, version, owner).await?;
        let held = object.extras.lock.and_then(|lock| lock.legal_hold) == Some(true);
        bypass(&decider, Some(held && !on), &bucket, &key)?;
        self.store
            .change_lock(&object, LockChange::Hold(on))
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(PutObjectLegalHoldOutput::default()))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn of(pairs: &[(&'static str, &str)]) -> Result<Option<ObjectLock>, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        asked(&headers, 1_000).map_err(|e| e.code().as_str().to_owned())
    }

    #[test]
    fn the_headers_of_a_write_ask_for_a_lock() {
        const MODE: &str = "x-amz-object-lock-mode";
        const UNTIL: &str = "x-amz-object-lock-retain-until-date";
        const HOLD: &str = "x-amz-object-lock-legal-hold";
        assert_eq!(of(&[]), Ok(None));
        let lock = of(&[(MODE, "COMPLIANCE"), (UNTIL, "2030-01-01T00:00:00Z")]);
        let retention = lock.unwrap().unwrap().retention.unwrap();
        assert_eq!(retention.mode, RetentionMode::Compliance);
        assert_eq!(retention.until_ms, 1_893_456_000_000);
        let held = of(&[(HOLD, "ON")]).unwrap().unwrap();
        assert_eq!(held.legal_hold, Some(true));
        for bad in [
            &[(MODE, "COMPLIANCE")][..],
            &[(UNTIL, "2030-01-01T00:00:00Z")],
            &[(MODE, "governance"), (UNTIL, "2030-01-01T00:00:00Z")],
            &[(MODE, "GOVERNANCE"), (UNTIL, "1970-01-01T00:00:01Z")],
            &[(MODE, "GOVERNANCE"), (UNTIL, "soon")],
            &[(HOLD, "on")],
        ] {
            assert_eq!(of(bad), Err("InvalidArgument".to_owned()), "{bad:?}");
        }
    }

    #[test]
    fn a_configuration_is_checked_and_comes_back_as_it_was() {
        let of = |enabled: &str, mode: &str, days, years| {
            let default = WireDefault {
                days,
                mode: Some(ObjectLockRetentionMode::from(mode.to_owned())),
                years,
            };
            configuration(Some(ObjectLockConfiguration {
                object_lock_enabled: Some(ObjectLockEnabled::from(enabled.to_owned())),
                rule: Some(ObjectLockRule {
                    default_retention: Some(default),
                }),
            }))
            .map(shown)
            .map_err(|e| e.code().as_str().to_owned())
        };
        let good = of("Enabled", "GOVERNANCE", Some(1), None).unwrap();
        let default = good.rule.unwrap().default_retention.unwrap();
        assert_eq!((default.days, default.years), (Some(1), None));
        for (enabled, mode, days, years, code) in [
            ("Enabled", "GOVERNANCE", Some(1), Some(1), "MalformedXML"),
            ("Enabled", "GOVERNANCE", None, None, "MalformedXML"),
            (
                "Enabled",
                "GOVERNANCE",
                Some(0),
                None,
                "InvalidRetentionPeriod",
            ),
            (
                "Enabled",
                "GOVERNANCE",
                None,
                Some(-1),
                "InvalidRetentionPeriod",
            ),
            (
                "Enabled",
                "COMPLIANCE",
                None,
                Some(101),
                "InvalidRetentionPeriod",
            ),
            ("Enabled", "governance", Some(1), None, "MalformedXML"),
            ("Disabled", "GOVERNANCE", Some(1), None, "MalformedXML"),
        ] {
            assert_eq!(of(enabled, mode, days, years), Err(code.to_owned()));
        }
        assert!(configuration(None).is_err());
    }
}

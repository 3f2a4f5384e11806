//! Object lock: how long a version may not be removed, by whatever it is asked.
//!
//! The lock lies in the row of the version and is decided where a version's row is removed, inside that transaction: no door, sweep or command comes past it.
//! A delete marker removes nothing, so it may always be put on top.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::bucket::existing;
use super::object::{Object, json};
use super::{Store, StoreError};
use crate::catalog::{BucketRow, NewBucket, Versioning};
use crate::kernel::{BucketName, Millis};

/// Longest default retention (Amazon S3, PutObjectLockConfiguration).
pub const LOCK_YEARS_MAX: u32 = 100;
/// The setting of a bucket that keeps locks; its presence says that the bucket can lock.
pub(super) const SETTING: &str = "object_lock";
const DAY_MS: Millis = 24 * 60 * 60 * 1000;

/// Who may end a retention early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetentionMode {
    /// Whoever has the right to bypass it and says so.
    Governance,
    /// Nobody.
    Compliance,
}

impl RetentionMode {
    /// As S3 writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }

    /// Reads what [`RetentionMode::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Governance, Self::Compliance]
            .into_iter()
            .find(|mode| mode.as_str() == text)
    }
}

/// Until when a version is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Who may end it early.
    pub mode: RetentionMode,
    /// The first moment at which the version may be removed.
    pub until_ms: Millis,
}

/// What keeps a version from being removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectLock {
    /// For a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// Until it is lifted; `None` when nobody ever said anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legal_hold: Option<bool>,
}

/// How long new versions of a bucket are kept when the request says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRetention {
    /// Who may end it early.
    pub mode: RetentionMode,
    /// For how long.
    #[serde(flatten)]
    pub period: Period,
}

/// A length of time as people give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// Of 24 hours.
    Days(u32),
    /// Of 365 days.
    Years(u32),
}

impl Period {
    fn millis(self) -> Millis {
        DAY_MS
            * match self {
                Self::Days(days) => Millis::from(days),
                Self::Years(years) => 365 * Millis::from(years),
            }
    }
}

/// The setting of a bucket that can lock its objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketLock {
    /// What new versions get.
    #[serde(default, rename = "default", skip_serializing_if = "Option::is_none")]
    pub default_retention: Option<DefaultRetention>,
}

/// A change of the lock of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockChange {
    /// Another retention, or none; with `bypass` also a laxer one than that of governance mode.
    Retain {
        /// The new one.
        retention: Option<Retention>,
        /// Whether governance mode may be bypassed.
        bypass: bool,
    },
    /// The legal hold put on or lifted.
    Hold(bool),
}

impl ObjectLock {
    /// Refuses to let a version go that is held or retained.
    ///
    /// # Errors
    /// [`StoreError::Locked`].
    pub(super) fn release(self, bypass: bool, now_ms: Millis) -> Result<(), StoreError> {
        if self.legal_hold == Some(true) {
            return Err(StoreError::Locked("it is under a legal hold".into()));
        }
        match self.retention.filter(|kept| kept.until_ms > now_ms) {
            Some(kept) if kept.mode == RetentionMode::Compliance || !bypass => {
                Err(StoreError::Locked(until(kept)))
            }
            _ => Ok(()),
        }
    }

    fn change(&mut self, change: LockChange, now_ms: Millis) -> Result<(), StoreError> {
        match change {
            LockChange::Hold(hold) => self.legal_hold = Some(hold),
            LockChange::Retain { retention, bypass } => {
                if let Some(old) = self.retention.filter(|old| old.until_ms > now_ms) {
                    let stricter = retention
                        .is_some_and(|new| new.mode == old.mode && new.until_ms >= old.until_ms);
                    if !stricter && (old.mode == RetentionMode::Compliance || !bypass) {
                        return Err(StoreError::Locked(until(old)));
                    }
                }
                self.retention = retention;
            }
        }
        Ok(())
    }
}

fn until(kept: Retention) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(kept.until_ms) * 1_000_000);
    let at = at.ok().and_then(|at| at.format(&Rfc3339).ok());
    format!(
        "it is retained until {} in {} mode",
        at.as_deref().unwrap_or("a distant day"),
        kept.mode.as_str()
    )
}

/// The lock of a stored version.
pub(super) fn of_extras(extras: &str) -> Result<Option<ObjectLock>, StoreError> {
    // Most rows hold `{}`, which needs no reading.
    if extras.len() <= 2 {
        return Ok(None);
    }
    let extras: super::ObjectExtras = json("object_version.extras", extras)?;
    Ok(extras.lock)
}

/// Whether and how a bucket locks.
pub(super) fn of_bucket(bucket: &BucketRow) -> Result<Option<BucketLock>, StoreError> {
    /// The one setting that is of interest here.
    #[derive(Deserialize)]
    struct Only {
        object_lock: Option<BucketLock>,
    }
    // Most buckets have no such setting, and every write asks.
    if !bucket.settings.contains(SETTING) {
        return Ok(None);
    }
    Ok(json::<Only>("bucket.settings", &bucket.settings)?.object_lock)
}

/// The lock of a new version: what the request asked for, else the default of the bucket.
///
/// # Errors
/// [`StoreError::NotLockable`].
pub(super) fn of_new(
    bucket: &BucketRow,
    asked: Option<ObjectLock>,
    now_ms: Millis,
) -> Result<Option<ObjectLock>, StoreError> {
    let Some(setting) = of_bucket(bucket)? else {
        return match asked {
            Some(_) => Err(StoreError::NotLockable(bucket.name.clone())),
            None => Ok(None),
        };
    };
    let mut lock = asked.unwrap_or_default();
    if lock.retention.is_none() {
        lock.retention = setting.default_retention.map(|default| Retention {
            mode: default.mode,
            until_ms: now_ms + default.period.millis(),
        });
    }
    Ok((lock != ObjectLock::default()).then_some(lock))
}

impl Store {
    /// Makes a bucket that keeps versions and can lock them; neither can be switched off again.
    ///
    /// # Errors
    /// [`StoreError::BucketExists`].
    pub async fn create_locking_bucket(
        &self,
        name: &BucketName,
        owner: &str,
        mut settings: serde_json::Map<String, serde_json::Value>,
    ) -> Result<BucketRow, StoreError> {
        settings.insert(SETTING.to_owned(), serde_json::json!(BucketLock::default()));
        let new = NewBucket {
            versioning: Versioning::Enabled,
            ..self.plain_bucket(name, owner)
        };
        self.enter_bucket(new, settings).await
    }

    /// Whether and how a bucket locks its objects.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`].
    pub async fn bucket_lock(&self, name: &BucketName) -> Result<Option<BucketLock>, StoreError> {
        of_bucket(&*self.bucket(name).await?)
    }

    /// Lets a bucket lock its objects from now on, and sets what new versions get.
    ///
    /// # Errors
    /// [`StoreError::BucketState`] while the bucket does not keep versions.
    pub async fn set_bucket_lock(
        &self,
        name: &BucketName,
        lock: BucketLock,
    ) -> Result<(), StoreError> {
        let (name, value) = (name.clone(), serde_json::json!(lock));
        self.0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    let bucket = existing(tx, &name).await?;
                    if bucket.versioning() != Versioning::Enabled {
                        return Err(StoreError::BucketState(
                            "objects can be locked only in a bucket that keeps versions".into(),
                        ));
                    }
                    let settings = super::bucket::with_setting(&bucket, SETTING, Some(value))?;
                    Ok(tx.set_bucket_settings(bucket.id, &settings).await?)
                })
            })
            .await
    }

    /// Changes the lock of a version.
    ///
    /// # Errors
    /// [`StoreError::NotLockable`]; [`StoreError::Locked`] when the change would weaken what may not be weakened.
    pub async fn change_lock(
        &self,
        object: &Object,
        change: LockChange,
    ) -> Result<ObjectLock, StoreError> {
        if self.bucket_lock(&object.bucket).await?.is_none() {
            return Err(StoreError::NotLockable(object.bucket.to_string()));
        }
        let now_ms = self.0.clock.now_ms();
        let extras = self
            .change_extras(object, move |extras| {
                let mut lock = extras.lock.unwrap_or_default();
                lock.change(change, now_ms)?;
                extras.lock = Some(lock);
                Ok(())
            })
            .await?;
        Ok(extras.lock.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use RetentionMode::{Compliance, Governance};

    fn kept(mode: RetentionMode, until_ms: Millis) -> ObjectLock {
        ObjectLock {
            retention: Some(Retention { mode, until_ms }),
            legal_hold: None,
        }
    }

    #[test]
    fn what_is_retained_or_held_stays() {
        let held = ObjectLock {
            retention: None,
            legal_hold: Some(true),
        };
        let lifted = ObjectLock {
            retention: None,
            legal_hold: Some(false),
        };
        let table = [
            (kept(Governance, 10), false, 9, false),
            (kept(Governance, 10), true, 9, true),
            (kept(Governance, 10), false, 10, true),
            (kept(Compliance, 10), true, 9, false),
            (kept(Compliance, 10), false, 10, true),
            (held, true, 9, false),
            (lifted, false, 9, true),
            (ObjectLock::default(), false, 9, true),
        ];
        for (lock, bypass, now_ms, goes) in table {
            assert_eq!(
                lock.release(bypass, now_ms).is_ok(),
                goes,
                "{lock:?} {bypass} {now_ms}"
            );
        }
    }

    #[test]
    fn a_retention_is_only_made_stricter() {
        let new = |mode, until_ms| Some(Retention { mode, until_ms });
        let table = [
            (Governance, new(Governance, 20), false, true),
            (Governance, new(Governance, 5), false, false),
            (Governance, new(Governance, 5), true, true),
            (Governance, new(Compliance, 10), false, false),
            (Governance, new(Compliance, 10), true, true),
            (Governance, None, false, false),
            (Governance, None, true, true),
            (Compliance, new(Compliance, 20), false, true),
            (Compliance, new(Compliance, 5), true, false),
            (Compliance, new(Governance, 20), true, false),
            (Compliance, None, true, false),
        ];
        for (old, retention, bypass, may) in table {
            let mut lock = kept(old, 10);
            let change = LockChange::Retain { retention, bypass };
            assert_eq!(lock.change(change, 1).is_ok(), may, "{old:?} {change:?}");
            let mut over = kept(old, 10);
            over.change(change, 10).unwrap();
        }
    }

    #[test]
    fn settings_read_as_they_were_written() {
        let lock = BucketLock {
            default_retention: Some(DefaultRetention {
                mode: Governance,
                period: Period::Years(2),
            }),
        };
        let text = serde_json::to_string(&lock).unwrap();
        assert_eq!(text, r#"{"default":{"mode":"governance","years":2}}"#);
        assert_eq!(serde_json::from_str::<BucketLock>(&text).unwrap(), lock);
        assert_eq!(
            serde_json::from_str::<BucketLock>("{}").unwrap(),
            BucketLock::default()
        );
        assert_eq!(Period::Years(1).millis(), Period::Days(365).millis());
    }

    #[test]
    fn a_refusal_says_until_when() {
        let refusal = kept(Compliance, 1_893_456_000_000).release(true, 0);
        assert_eq!(
            refusal.unwrap_err().to_string(),
            "the version cannot be removed or its lock weakened: it is retained until 2030-01-01T00:00:00Z in COMPLIANCE mode"
        );
    }
}

//! The actions that a policy may name.

use super::pattern::Pattern;
use super::{PolicyError, shown};

/// Every action on buckets and objects, without `s3:`; those that this appliance does not offer are here too, as a policy may well deny them (Service Authorization Reference, Amazon S3).
const KNOWN: &[&str] = &[
    "AbortMultipartUpload",
    "BypassGovernanceRetention",
    "CreateBucket",
    "DeleteBucket",
    "DeleteBucketOwnershipControls",
    "DeleteBucketPolicy",
    "DeleteBucketWebsite",
    "DeleteObject",
    "DeleteObjectTagging",
    "DeleteObjectVersion",
    "DeleteObjectVersionTagging",
    "GetAccelerateConfiguration",
    "GetAnalyticsConfiguration",
    "GetBucketAcl",
    "GetBucketCORS",
    "GetBucketLocation",
    "GetBucketLogging",
    "GetBucketNotification",
    "GetBucketObjectLockConfiguration",
    "GetBucketOwnershipControls",
    "GetBucketPolicy",
    "GetBucketPolicyStatus",
    "GetBucketPublicAccessBlock",
    "GetBucketRequestPayment",
    "GetBucketTagging",
    "GetBucketVersioning",
    "GetBucketWebsite",
    "GetEncryptionConfiguration",
    "GetIntelligentTieringConfiguration",
    "GetInventoryConfiguration",
    "GetLifecycleConfiguration",
    "GetMetricsConfiguration",
    "GetObject",
    "GetObjectAcl",
    "GetObjectAttributes",
    "GetObjectLegalHold",
    "GetObjectRetention",
    "GetObjectTagging",
    "GetObjectTorrent",
    "GetObjectVersion",
    "GetObjectVersionAcl",
    "GetObjectVersionAttributes",
    "GetObjectVersionForReplication",
    "GetObjectVersionTagging",
    "GetReplicationConfiguration",
    "ListAllMyBuckets",
    "ListBucket",
    "ListBucketMultipartUploads",
    "ListBucketVersions",
    "ListMultipartUploadParts",
    "PutAccelerateConfiguration",
    "PutAnalyticsConfiguration",
    "PutBucketAcl",
    "PutBucketCORS",
    "PutBucketLogging",
    "PutBucketNotification",
    "PutBucketObjectLockConfiguration",
    "PutBucketOwnershipControls",
    "PutBucketPolicy",
    "PutBucketPublicAccessBlock",
    "PutBucketRequestPayment",
    "PutBucketTagging",
    "PutBucketVersioning",
    "PutBucketWebsite",
    "PutEncryptionConfiguration",
    "PutIntelligentTieringConfiguration",
    "PutInventoryConfiguration",
    "PutLifecycleConfiguration",
    "PutMetricsConfiguration",
    "PutObject",
    "PutObjectAcl",
    "PutObjectLegalHold",
    "PutObjectRetention",
    "PutObjectTagging",
    "PutObjectVersionAcl",
    "PutObjectVersionTagging",
    "PutReplicationConfiguration",
    "ReplicateDelete",
    "ReplicateObject",
    "ReplicateTags",
    "RestoreObject",
];

/// Which actions a statement is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ActionPattern(Pattern);

impl ActionPattern {
    /// Reads `s3:GetObject`, `s3:Get*` or `*`.
    pub(super) fn parse(text: &str) -> Result<Self, PolicyError> {
        let unknown = || PolicyError::new(format!("unknown action `{}`", shown(text)));
        if text == "*" {
            return Ok(Self(Pattern::parse("*", true, false)?));
        }
        let (service, name) = text.split_once(':').ok_or_else(unknown)?;
        if !service.eq_ignore_ascii_case("s3") {
            return Err(unknown());
        }
        let pattern = Pattern::parse(name, true, false)?;
        if !KNOWN
            .iter()
            .any(|known| pattern.matches(known, true, &|_| Vec::new()))
        {
            return Err(unknown());
        }
        Ok(Self(pattern))
    }

    /// Whether an action, written without `s3:`, is meant.
    pub(super) fn matches(&self, action: &str) -> bool {
        self.0.matches(action, true, &|_| Vec::new())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn actions_are_known_ones_or_patterns_of_them() {
        for good in [
            "*",
            "s3:*",
            "s3:GetObject",
            "S3:getobject",
            "s3:Get*Acl",
            "s3:?etObject",
        ] {
            assert!(ActionPattern::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "s3:GetObjet",
            "GetObject",
            "iam:*",
            "s3:Fly*",
            "",
            "s3:",
            "**",
        ] {
            assert!(ActionPattern::parse(bad).is_err(), "{bad}");
        }
        let get = ActionPattern::parse("s3:get*").unwrap();
        assert!(get.matches("GetObject") && !get.matches("PutObject"));
        assert_eq!(
            ActionPattern::parse("s3:Fly").unwrap_err().to_string(),
            "unknown action `s3:Fly`"
        );
    }
}

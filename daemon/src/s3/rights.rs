//! What each operation is called in policies.

use http::HeaderMap;

/// The actions, without `s3:`, that an operation asks for; the first is what it is about (Service Authorization Reference, Amazon S3).
///
/// `versioned` says whether the request names a version.
pub(super) fn actions(operation: &str, versioned: bool, headers: &HeaderMap) -> Vec<&'static str> {
    let either = |plain, of_version| if versioned { of_version } else { plain };
    let first = match operation {
        "ListBuckets" => "ListAllMyBuckets",
        "CreateBucket" => "CreateBucket",
        "DeleteBucket" => "DeleteBucket",
        "HeadBucket" | "ListObjects" | "ListObjectsV2" => "ListBucket",
        "ListObjectVersions" => "ListBucketVersions",
        "ListMultipartUploads" => "ListBucketMultipartUploads",
        "GetBucketAcl" => "GetBucketAcl",
        "PutBucketAcl" => "PutBucketAcl",
        "GetBucketCors" => "GetBucketCORS",
        "PutBucketCors" | "DeleteBucketCors" => "PutBucketCORS",
        "GetBucketEncryption" => "GetEncryptionConfiguration",
        "PutBucketEncryption" | "DeleteBucketEncryption" => "PutEncryptionConfiguration",
        "GetBucketLifecycleConfiguration" => "GetLifecycleConfiguration",
        "PutBucketLifecycleConfiguration" | "DeleteBucketLifecycle" => "PutLifecycleConfiguration",
        "GetBucketLocation" => "GetBucketLocation",
        "GetBucketLogging" => "GetBucketLogging",
        "PutBucketLogging" => "PutBucketLogging",
        "GetBucketNotificationConfiguration" => "GetBucketNotification",
        "PutBucketNotificationConfiguration" => "PutBucketNotification",
        "GetBucketOwnershipControls" => "GetBucketOwnershipControls",
        "PutBucketOwnershipControls" | "DeleteBucketOwnershipControls" => {
            "PutBucketOwnershipControls"
        }
        "GetBucketPolicy" => "GetBucketPolicy",
        "PutBucketPolicy" => "PutBucketPolicy",
        "DeleteBucketPolicy" => "DeleteBucketPolicy",
        "GetBucketPolicyStatus" => "GetBucketPolicyStatus",
        "GetPublicAccessBlock" => "GetBucketPublicAccessBlock",
        "PutPublicAccessBlock" | "DeletePublicAccessBlock" => "PutBucketPublicAccessBlock",
        "GetBucketReplication" => "GetReplicationConfiguration",
        "PutBucketReplication" | "DeleteBucketReplication" => "PutReplicationConfiguration",
        "GetBucketRequestPayment" => "GetBucketRequestPayment",
        "PutBucketRequestPayment" => "PutBucketRequestPayment",
        "GetBucketTagging" => "GetBucketTagging",
        "PutBucketTagging" | "DeleteBucketTagging" => "PutBucketTagging",
        "GetBucketVersioning" => "GetBucketVersioning",
        "PutBucketVersioning" => "PutBucketVersioning",
        "GetBucketWebsite" => "GetBucketWebsite",
        "PutBucketWebsite" => "PutBucketWebsite",
        "DeleteBucketWebsite" => "DeleteBucketWebsite",
        "GetObjectLockConfiguration" => "GetBucketObjectLockConfiguration",
        "PutObjectLockConfiguration" => "PutBucketObjectLockConfiguration",
        "GetObject" | "HeadObject" | "SelectObjectContent" => {
            either("GetObject", "GetObjectVersion")
        }
        "GetObjectAttributes" => either("GetObject", "GetObjectVersion"),
        "GetObjectAcl" => either("GetObjectAcl", "GetObjectVersionAcl"),
        "PutObjectAcl" => either("PutObjectAcl", "PutObjectVersionAcl"),
        "GetObjectTagging" => either("GetObjectTagging", "GetObjectVersionTagging"),
        "PutObjectTagging" => either("PutObjectTagging", "PutObjectVersionTagging"),
        "DeleteObjectTagging" => either("DeleteObjectTagging", "DeleteObjectVersionTagging"),
        "GetObjectTorrent" => "GetObjectTorrent",
        "GetObjectLegalHold" => "GetObjectLegalHold",
        "PutObjectLegalHold" => "PutObjectLegalHold",
        "GetObjectRetention" => "GetObjectRetention",
        "PutObjectRetention" => "PutObjectRetention",
        "RestoreObject" => "RestoreObject",
        "DeleteObject" | "DeleteObjects" => either("DeleteObject", "DeleteObjectVersion"),
        "AbortMultipartUpload" => "AbortMultipartUpload",
        "ListParts" => "ListMultipartUploadParts",
        "PutObject"
        | "CopyObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload" => "PutObject",
        // Only a pattern that means every action can mean one without a name.
        _ => "",
    };
    let mut all = vec![first];
    if operation == "GetObjectAttributes" {
        all.push(either("GetObjectAttributes", "GetObjectVersionAttributes"));
    }
    // What a write brings beside the bytes needs the right to set it alone.
    if matches!(
        operation,
        "PutObject" | "CopyObject" | "CreateMultipartUpload"
    ) {
        if grants_to_others(headers) {
            all.push("PutObjectAcl");
        }
        if headers.contains_key("x-amz-tagging") {
            all.push("PutObjectTagging");
        }
        if headers.contains_key("x-amz-object-lock-mode") {
            all.push("PutObjectRetention");
        }
        if headers.contains_key("x-amz-object-lock-legal-hold") {
            all.push("PutObjectLegalHold");
        }
    }
    let bypasses = headers
        .get("x-amz-bypass-governance-retention")
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    if bypasses
        && matches!(
            operation,
            "DeleteObject" | "DeleteObjects" | "PutObjectRetention"
        )
    {
        all.push("BypassGovernanceRetention");
    }
    all
}

/// Whether an access list is sent that lets in anybody but the owners.
fn grants_to_others(headers: &HeaderMap) -> bool {
    headers.iter().any(|(name, value)| {
        let name = name.as_str();
        name.starts_with("x-amz-grant-")
            || (name == "x-amz-acl"
                && !matches!(
                    value.as_bytes(),
                    b"private" | b"bucket-owner-full-control" | b"bucket-owner-read"
                ))
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_operation_has_the_names_that_policies_use() {
        let none = HeaderMap::new();
        assert_eq!(actions("HeadObject", false, &none), ["GetObject"]);
        assert_eq!(actions("GetObject", true, &none), ["GetObjectVersion"]);
        assert_eq!(actions("ListObjectsV2", false, &none), ["ListBucket"]);
        assert_eq!(
            actions("DeletePublicAccessBlock", false, &none),
            ["PutBucketPublicAccessBlock"]
        );
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-acl", "public-read".parse().unwrap());
        headers.insert("x-amz-tagging", "a=1".parse().unwrap());
        assert_eq!(
            actions("PutObject", false, &headers),
            ["PutObject", "PutObjectAcl", "PutObjectTagging"]
        );
        headers.insert("x-amz-acl", "private".parse().unwrap());
        assert_eq!(
            actions("CopyObject", false, &headers),
            ["PutObject", "PutObjectTagging"]
        );
        assert_eq!(actions("GetObject", false, &headers), ["GetObject"]);
    }
}

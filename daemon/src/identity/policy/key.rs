//! The keys that a condition may speak of.

/// Something of a request or its caller that a condition compares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConditionKey {
    /// `aws:SourceIp`: where the request came from.
    SourceIp,
    /// `aws:username`: the name that lists and owners show, an access key id or a tailnet login.
    Username,
    /// `aws:userid`: the same here.
    UserId,
    /// `aws:PrincipalType`: `User` or `Anonymous`.
    PrincipalType,
    /// `aws:CurrentTime`.
    CurrentTime,
    /// `aws:EpochTime`.
    EpochTime,
    /// `aws:SecureTransport`.
    SecureTransport,
    /// `aws:Referer`.
    Referer,
    /// `aws:UserAgent`.
    UserAgent,
    /// `s3:prefix` of a listing.
    Prefix,
    /// `s3:delimiter` of a listing.
    Delimiter,
    /// `s3:max-keys` of a listing.
    MaxKeys,
    /// `s3:VersionId`.
    VersionId,
    /// `s3:signatureversion`.
    SignatureVersion,
    /// `s3:signatureAge`, in milliseconds.
    SignatureAge,
    /// `s3:authType`: `REST-HEADER`, `REST-QUERY-STRING` or `POST`.
    AuthType,
    /// `s3:LocationConstraint` of a new bucket.
    LocationConstraint,
    /// A header of the request, in lower case, such as `x-amz-acl`.
    Header(&'static str),
    /// `s3:ExistingObjectTag/…`: a tag of the object that is there.
    ExistingTag(String),
    /// `s3:RequestObjectTag/…`: a tag that the request brings.
    RequestTag(String),
    /// `s3:RequestObjectTagKeys`: the keys of the tags that the request brings.
    RequestTagKeys,
}

/// Keys without a part that is free to choose; their names have no case.
const FIXED: &[(&str, ConditionKey)] = &[
    ("aws:sourceip", ConditionKey::SourceIp),
    ("aws:username", ConditionKey::Username),
    ("aws:userid", ConditionKey::UserId),
    ("aws:principaltype", ConditionKey::PrincipalType),
    ("aws:currenttime", ConditionKey::CurrentTime),
    ("aws:epochtime", ConditionKey::EpochTime),
    ("aws:securetransport", ConditionKey::SecureTransport),
    ("aws:referer", ConditionKey::Referer),
    ("aws:useragent", ConditionKey::UserAgent),
    ("aws:tagkeys", ConditionKey::RequestTagKeys),
    ("s3:prefix", ConditionKey::Prefix),
    ("s3:delimiter", ConditionKey::Delimiter),
    ("s3:max-keys", ConditionKey::MaxKeys),
    ("s3:versionid", ConditionKey::VersionId),
    ("s3:signatureversion", ConditionKey::SignatureVersion),
    ("s3:signatureage", ConditionKey::SignatureAge),
    ("s3:authtype", ConditionKey::AuthType),
    ("s3:locationconstraint", ConditionKey::LocationConstraint),
    ("s3:requestobjecttagkeys", ConditionKey::RequestTagKeys),
];

/// Keys that are headers: the name in a policy behind `s3:`, and the header.
const HEADERS: &[(&str, &str)] = &[
    ("x-amz-acl", "x-amz-acl"),
    ("x-amz-grant-full-control", "x-amz-grant-full-control"),
    ("x-amz-grant-read", "x-amz-grant-read"),
    ("x-amz-grant-read-acp", "x-amz-grant-read-acp"),
    ("x-amz-grant-write", "x-amz-grant-write"),
    ("x-amz-grant-write-acp", "x-amz-grant-write-acp"),
    ("x-amz-copy-source", "x-amz-copy-source"),
    ("x-amz-metadata-directive", "x-amz-metadata-directive"),
    ("x-amz-content-sha256", "x-amz-content-sha256"),
    ("x-amz-storage-class", "x-amz-storage-class"),
    (
        "x-amz-website-redirect-location",
        "x-amz-website-redirect-location",
    ),
    ("x-amz-object-ownership", "x-amz-object-ownership"),
    (
        "x-amz-server-side-encryption",
        "x-amz-server-side-encryption",
    ),
    (
        "x-amz-server-side-encryption-aws-kms-key-id",
        "x-amz-server-side-encryption-aws-kms-key-id",
    ),
    (
        "x-amz-server-side-encryption-customer-algorithm",
        "x-amz-server-side-encryption-customer-algorithm",
    ),
    ("object-lock-mode", "x-amz-object-lock-mode"),
    (
        "object-lock-retain-until-date",
        "x-amz-object-lock-retain-until-date",
    ),
    ("object-lock-legal-hold", "x-amz-object-lock-legal-hold"),
    ("if-match", "if-match"),
    ("if-none-match", "if-none-match"),
];

impl ConditionKey {
    /// Reads a key as a policy writes it; `None` for one that this appliance has no answer to.
    pub fn parse(name: &str) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        if let Some((_, key)) = FIXED.iter().find(|(known, _)| *known == lower) {
            return Some(key.clone());
        }
        if let Some((_, header)) = lower
            .strip_prefix("s3:")
            .and_then(|rest| HEADERS.iter().find(|(known, _)| *known == rest))
        {
            return Some(Self::Header(header));
        }
        // The part behind the slash is a tag's key, which has its case.
        let (kind, tag) = name.split_once('/').filter(|(_, tag)| !tag.is_empty())?;
        match kind.to_ascii_lowercase().as_str() {
            "s3:existingobjecttag" => Some(Self::ExistingTag(tag.to_owned())),
            "s3:requestobjecttag" => Some(Self::RequestTag(tag.to_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_case_but_tags_do() {
        assert_eq!(
            ConditionKey::parse("AWS:sourceIP"),
            Some(ConditionKey::SourceIp)
        );
        assert_eq!(
            ConditionKey::parse("s3:X-Amz-Acl"),
            Some(ConditionKey::Header("x-amz-acl"))
        );
        assert_eq!(
            ConditionKey::parse("S3:existingObjectTag/Team"),
            Some(ConditionKey::ExistingTag("Team".into()))
        );
        for unknown in [
            "aws:SourceArn",
            "s3:",
            "prefix",
            "s3:ExistingObjectTag/",
            "",
        ] {
            assert_eq!(ConditionKey::parse(unknown), None, "{unknown}");
        }
    }
}

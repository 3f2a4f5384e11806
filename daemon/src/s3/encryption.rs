//! Server-side encryption as S3 speaks of it: what a request asks for, what an answer tells, and what a bucket does by default.
//!
//! Three kinds are told apart.
//! With SSE-S3 (`AES256`) the appliance keeps the key.
//! With SSE-KMS (`aws:kms`) it does so under a name that the client gives; there is no other key service behind the name.
//! With SSE-C the client sends the key with each request and the appliance forgets it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderValue, StatusCode};
use md5::Digest as _;
use s3s::dto::{
    DeleteBucketEncryptionInput, DeleteBucketEncryptionOutput, GetBucketEncryptionInput,
    GetBucketEncryptionOutput, PutBucketEncryptionInput, PutBucketEncryptionOutput,
    ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration,
    ServerSideEncryptionRule,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::bucket_name;
use super::error::{self, With as _, not_built, say};
use super::operations::Operations;
use crate::store::{CustomerKey, DefaultEncryption, Encrypted, EncryptionAsked, Object};

/// Asks for SSE-S3 or SSE-KMS.
const KIND: &str = "x-amz-server-side-encryption";
/// The name of a key.
const KEY_NAME: &str = "x-amz-server-side-encryption-aws-kms-key-id";
/// What a key service would bind a key to.
const CONTEXT: &str = "x-amz-server-side-encryption-context";
/// With a customer's key for the object that is written or read.
const CUSTOMER: Names = Names {
    algorithm: "x-amz-server-side-encryption-customer-algorithm",
    key: "x-amz-server-side-encryption-customer-key",
    md5: "x-amz-server-side-encryption-customer-key-md5",
};
/// The same for the source of a copy.
const COPY_SOURCE: Names = Names {
    algorithm: "x-amz-copy-source-server-side-encryption-customer-algorithm",
    key: "x-amz-copy-source-server-side-encryption-customer-key",
    md5: "x-amz-copy-source-server-side-encryption-customer-key-md5",
};
/// Longest name of a key: that of an Amazon resource name.
const KEY_NAME_BYTES_MAX: usize = 2048;

/// The three headers that carry a customer's key.
struct Names {
    algorithm: &'static str,
    key: &'static str,
    md5: &'static str,
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get(name)
        .map(|value| value.to_str().unwrap_or_default().trim())
}

fn invalid(words: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    say(S3ErrorCode::InvalidArgument, words)
}

/// The key that a customer sent in these headers; all three or none.
fn customer_key(headers: &HeaderMap, names: &Names) -> S3Result<Option<CustomerKey>> {
    let sent = |name| text(headers, name);
    let (algorithm, key, md5) = (sent(names.algorithm), sent(names.key), sent(names.md5));
    if algorithm.is_none() && key.is_none() && md5.is_none() {
        return Ok(None);
    }
    let missing = |name: &str| invalid(format!("a customer's key comes with {name}"));
    if algorithm.ok_or_else(|| missing(names.algorithm))? != "AES256" {
        return Err(say(
            S3ErrorCode::InvalidEncryptionAlgorithmError,
            "a customer's key is for AES256; no other algorithm is known",
        ));
    }
    let key = BASE64_STANDARD.decode(key.ok_or_else(|| missing(names.key))?);
    let key: [u8; 32] = key
        .ok()
        .and_then(|key| key.try_into().ok())
        .ok_or_else(|| invalid(format!("{} is not base64 of 256 bits", names.key)))?;
    let md5 = BASE64_STANDARD.decode(md5.ok_or_else(|| missing(names.md5))?);
    let computed: [u8; 16] = md5::Md5::digest(key).into();
    if md5.ok().as_deref() != Some(&computed[..]) {
        return Err(invalid(format!(
            "{} is not the MD5 of the key: it was garbled on the way",
            names.md5
        )));
    }
    Ok(Some(CustomerKey::from_bytes(key)))
}

/// What a request that begins an object asks for; `None` leaves it to the bucket.
///
/// # Errors
/// `InvalidArgument` for what contradicts itself; `InvalidEncryptionAlgorithmError`; `NotImplemented` for an encryption context.
pub(super) fn asked(headers: &HeaderMap) -> S3Result<Option<EncryptionAsked>> {
    let key = customer_key(headers, &CUSTOMER)?;
    let (kind, name) = (text(headers, KIND), text(headers, KEY_NAME));
    if headers.contains_key(CONTEXT) {
        return Err(not_built(CONTEXT));
    }
    if key.is_some() && (kind.is_some() || name.is_some()) {
        return Err(invalid(
            "an object is encrypted with a key of the customer or with one of the appliance, not with both",
        ));
    }
    match (kind, name) {
        (None, None) => Ok(key.map(EncryptionAsked::Customer)),
        (Some("AES256"), None) => Ok(Some(EncryptionAsked::Appliance)),
        (Some("aws:kms"), name) => Ok(Some(EncryptionAsked::Named(key_name(name)?))),
        (Some("AES256") | None, Some(_)) => Err(invalid(format!(
            "{KEY_NAME} goes with {KIND}: aws:kms only"
        ))),
        (Some(_), _) => Err(invalid(format!("{KIND} is AES256 or aws:kms"))),
    }
}

fn key_name(name: Option<&str>) -> S3Result<String> {
    let name = name.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| {
        invalid(
            "aws:kms needs the name of a key: the appliance has no default one; AES256 needs none",
        )
    })?;
    if name.len() > KEY_NAME_BYTES_MAX || HeaderValue::from_str(name).is_err() {
        return Err(invalid(format!(
            "the name of a key has at most {KEY_NAME_BYTES_MAX} bytes, all printable"
        )));
    }
    Ok(name.to_owned())
}

/// The key of a part, which goes to an upload that says itself how it is encrypted; what else a part's request says of it is not asked.
pub(super) fn of_part(
    headers: &HeaderMap,
    upload: Option<&Encrypted>,
) -> S3Result<Option<CustomerKey>> {
    let key = customer_key(headers, &CUSTOMER)?;
    if key.is_some() && !upload.is_some_and(Encrypted::is_customers) {
        return Err(say(
            S3ErrorCode::InvalidRequest,
            "the upload was begun without a customer's key, so its parts take none",
        ));
    }
    if let Some(upload) = upload {
        upload.check(key.as_ref()).map_err(error::of)?;
    }
    Ok(key)
}

/// The key for reading an object, checked before anything of the object is told.
///
/// # Errors
/// `InvalidRequest` without the key that it needs, or with one that it does not; `InvalidArgument` for a wrong one, and for words that only writers may say.
pub(super) fn of_read(headers: &HeaderMap, object: &Object) -> S3Result<Option<CustomerKey>> {
    for name in [KIND, KEY_NAME, CONTEXT] {
        if headers.contains_key(name) {
            return Err(invalid(format!("{name} is for requests that write")));
        }
    }
    checked(customer_key(headers, &CUSTOMER)?, object)
}

/// The same for the source of a copy.
pub(super) fn of_source(headers: &HeaderMap, object: &Object) -> S3Result<Option<CustomerKey>> {
    checked(customer_key(headers, &COPY_SOURCE)?, object)
}

fn checked(key: Option<CustomerKey>, object: &Object) -> S3Result<Option<CustomerKey>> {
    if key.is_some() && !object.needs_key() {
        return Err(say(
            S3ErrorCode::InvalidRequest,
            "the object is not encrypted with a customer's key, so the request must not send one",
        ));
    }
    if let Some(encrypted) = object.encrypted() {
        encrypted.check(key.as_ref()).map_err(error::of)?;
    }
    Ok(key)
}

/// Whether a copy asks for any encryption, which makes a copy of an object to itself worth making.
pub(super) fn is_asked(headers: &HeaderMap) -> bool {
    headers
        .keys()
        .any(|name| name.as_str().starts_with("x-amz-server-side-encryption"))
}

/// Tells in an answer how an object or upload is encrypted; `request` sent the customer's key, where there is one.
pub(super) fn tell(answer: &mut HeaderMap, encrypted: Option<&Encrypted>, request: &HeaderMap) {
    let Some(encrypted) = encrypted else {
        return;
    };
    if encrypted.is_customers() {
        answer.insert(CUSTOMER.algorithm, HeaderValue::from_static("AES256"));
        if let Some(md5) = request.get(CUSTOMER.md5) {
            answer.insert(CUSTOMER.md5, md5.clone());
        }
        return;
    }
    let kind = match encrypted.key_name() {
        Some(_) => "aws:kms",
        None => "AES256",
    };
    answer.insert(KIND, HeaderValue::from_static(kind));
    if let Some(name) = encrypted.key_name()
        && let Ok(name) = HeaderValue::from_str(name)
    {
        answer.insert(KEY_NAME, name);
    }
}

/// The one rule of a bucket's configuration.
fn read(sent: ServerSideEncryptionConfiguration) -> S3Result<DefaultEncryption> {
    let malformed = |words: &'static str| say(S3ErrorCode::MalformedXML, words);
    let mut rules = sent.rules.into_iter();
    let (Some(rule), None) = (rules.next(), rules.next()) else {
        return Err(malformed("the encryption of a bucket is one rule"));
    };
    let by_default = rule
        .apply_server_side_encryption_by_default
        .ok_or_else(|| malformed("the rule says no ApplyServerSideEncryptionByDefault"))?;
    let name = by_default.kms_master_key_id;
    let key_name = match (by_default.sse_algorithm.as_str(), name) {
        ("AES256", None) => None,
        ("AES256", Some(_)) => {
            return Err(invalid("KMSMasterKeyID goes with aws:kms only"));
        }
        ("aws:kms", name) => Some(key_name(name.as_deref())?),
        _ => return Err(malformed("SSEAlgorithm is AES256 or aws:kms")),
    };
    Ok(DefaultEncryption {
        key_name,
        bucket_key: rule.bucket_key_enabled,
    })
}

fn shown(default: DefaultEncryption) -> ServerSideEncryptionConfiguration {
    let kind = match default.key_name {
        Some(_) => "aws:kms",
        None => "AES256",
    };
    ServerSideEncryptionConfiguration {
        rules: vec![ServerSideEncryptionRule {
            apply_server_side_encryption_by_default: Some(ServerSideEncryptionByDefault {
                kms_master_key_id: default.key_name,
                sse_algorithm: ServerSideEncryption::from_static(kind),
            }),
            bucket_key_enabled: default.bucket_key,
        }],
    }
}

impl Operations {
    /// How a bucket encrypts by default.
    pub(super) async fn get_bucket_encryption(
        &self,
        request: S3Request<GetBucketEncryptionInput>,
    ) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        self.store.bucket(&bucket).await.map_err(error::of)?;
        let default = self.store.default_encryption(&bucket).await;
        let default = default.map_err(error::of)?.ok_or_else(|| {
            say(
                S3ErrorCode::ServerSideEncryptionConfigurationNotFoundError,
                "The server side encryption configuration was not found",
            )
            .with_status(StatusCode::NOT_FOUND)
        })?;
        Ok(S3Response::new(GetBucketEncryptionOutput {
            server_side_encryption_configuration: Some(shown(default)),
        }))
    }

    /// Makes a bucket encrypt what comes without a word about it.
    pub(super) async fn put_bucket_encryption(
        &self,
        request: S3Request<PutBucketEncryptionInput>,
    ) -> S3Result<S3Response<PutBucketEncryptionOutput>> {
        let input = request.input;
        let bucket = bucket_name(&input.bucket)?;
        self.expect_owner(&bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let default = read(input.server_side_encryption_configuration)?;
        self.store
            .set_default_encryption(&bucket, Some(default))
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(PutBucketEncryptionOutput::default()))
    }

    /// Ends that; what is encrypted stays so.
    pub(super) async fn delete_bucket_encryption(
        &self,
        request: S3Request<DeleteBucketEncryptionInput>,
    ) -> S3Result<S3Response<DeleteBucketEncryptionOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        self.store
            .set_default_encryption(&bucket, None)
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(DeleteBucketEncryptionOutput::default()))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const KEY: &str = "pO3upElrwuEXSoFwCfnZPdSsmt/xWeFa0N9KgDijwVs=";
    const MD5: &str = "DWygnHRtgiJ77HCm+1rvHw==";

    fn read_asked(pairs: &[(&'static str, &str)]) -> Result<Option<EncryptionAsked>, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        asked(&headers).map_err(|error| error.code().as_str().to_owned())
    }

    #[test]
    fn a_writer_asks_for_one_kind_of_encryption_or_none() {
        assert!(read_asked(&[]).unwrap().is_none());
        let appliance = read_asked(&[(KIND, "AES256")]);
        assert!(matches!(appliance, Ok(Some(EncryptionAsked::Appliance))));
        let named = read_asked(&[(KIND, "aws:kms"), (KEY_NAME, "k1")]);
        assert!(matches!(named, Ok(Some(EncryptionAsked::Named(name))) if name == "k1"));
        let customer = [
            (CUSTOMER.algorithm, "AES256"),
            (CUSTOMER.key, KEY),
            (CUSTOMER.md5, MD5),
        ];
        let kept = read_asked(&customer);
        assert!(matches!(kept, Ok(Some(EncryptionAsked::Customer(_)))));
        let both: Vec<_> = customer.into_iter().chain([(KIND, "AES256")]).collect();
        for contradiction in [
            &both[..],
            &[(KIND, "AES256"), (KEY_NAME, "k1")],
            &[(KEY_NAME, "k1")],
            &[(KIND, "aes:kms")],
            &[(KIND, "aws:kms")],
        ] {
            assert_eq!(read_asked(contradiction).unwrap_err(), "InvalidArgument");
        }
        let context = read_asked(&[(KIND, "aws:kms"), (KEY_NAME, "k1"), (CONTEXT, "e30=")]);
        assert_eq!(context.unwrap_err(), "NotImplemented");
    }

    #[test]
    fn a_customers_key_comes_whole_and_ungarbled() {
        let of = |algorithm: Option<&str>, key: Option<&str>, md5: Option<&str>| {
            let mut headers = HeaderMap::new();
            let sent = [
                (CUSTOMER.algorithm, algorithm),
                (CUSTOMER.key, key),
                (CUSTOMER.md5, md5),
            ];
            for (name, value) in sent {
                if let Some(value) = value {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            customer_key(&headers, &CUSTOMER).map_err(|error| error.code().as_str().to_owned())
        };
        assert!(of(Some("AES256"), Some(KEY), Some(MD5)).unwrap().is_some());
        assert!(of(None, None, None).unwrap().is_none());
        let table = [
            (Some("AES128"), Some(KEY), Some(MD5)),
            (None, Some(KEY), Some(MD5)),
            (Some("AES256"), None, Some(MD5)),
            (Some("AES256"), Some(KEY), None),
            (Some("AES256"), Some("c2hvcnQ="), Some(MD5)),
            (Some("AES256"), Some("!"), Some(MD5)),
            (Some("AES256"), Some(KEY), Some("AAAAAAAAAAAAAAAAAAAAAA==")),
        ];
        for (n, (algorithm, key, md5)) in table.into_iter().enumerate() {
            let expected = if n == 0 {
                "InvalidEncryptionAlgorithmError"
            } else {
                "InvalidArgument"
            };
            assert_eq!(of(algorithm, key, md5).unwrap_err(), expected, "case {n}");
        }
    }

    #[test]
    fn a_bucket_has_one_rule_and_shows_it_as_it_was_set() {
        let rule = |kind: &'static str, name: Option<&str>| ServerSideEncryptionRule {
            apply_server_side_encryption_by_default: Some(ServerSideEncryptionByDefault {
                kms_master_key_id: name.map(str::to_owned),
                sse_algorithm: ServerSideEncryption::from_static(kind),
            }),
            ..ServerSideEncryptionRule::default()
        };
        let of = |rules: Vec<ServerSideEncryptionRule>| {
            read(ServerSideEncryptionConfiguration { rules })
                .map_err(|error| error.code().as_str().to_owned())
        };
        for rule in [rule("AES256", None), rule("aws:kms", Some("k1"))] {
            let default = of(vec![rule.clone()]).unwrap();
            assert_eq!(shown(default).rules, [rule]);
        }
        assert_eq!(of(vec![]).unwrap_err(), "MalformedXML");
        let two = vec![rule("AES256", None), rule("AES256", None)];
        assert_eq!(of(two).unwrap_err(), "MalformedXML");
        assert_eq!(
            of(vec![rule("aws:kms", None)]).unwrap_err(),
            "InvalidArgument"
        );
        assert_eq!(of(vec![rule("rot13", None)]).unwrap_err(), "MalformedXML");
    }
}

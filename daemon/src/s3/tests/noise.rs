//! Whatever a client sends, the answer is a refusal in words or a success, and never a fault of ours.
//!
//! `PROPTEST_CASES` makes the run longer, `PROPTEST_RNG_SEED` repeats one.

use std::ops::Range;

use http::{Method, StatusCode};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::{Answer, House, Key};
use crate::http::ranges::{Selection, select};

const BODY: &str = "hello";
/// Cases of one run, where the environment names no other number.
const CASES: u32 = 96;

/// Holds a property over one house with the bucket `films` and the object `a` in it.
fn over_a_house<S: Strategy>(
    strategy: &S,
    check: impl AsyncFn(&House, S::Value) -> Result<(), TestCaseError>,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let house = runtime.block_on(async {
        let house = House::open().await;
        for uri in ["/films", "/films/a"] {
            assert_eq!(house.put(Some(&house.root), uri, &[]).await.status, 200);
        }
        house
    });
    let mut config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    TestRunner::new(config)
        .run(strategy, |value| runtime.block_on(check(&house, value)))
        .unwrap_or_else(|failure| panic!("{failure}"));
}

fn no_fault_of_ours(answer: &Answer, what: &str) -> Result<(), TestCaseError> {
    let status = answer.status;
    let known = !status.is_server_error() || status == StatusCode::NOT_IMPLEMENTED;
    prop_assert!(known, "{what}: {status} {}", answer.text);
    let says_why = !(status.is_client_error() && answer.code().is_empty());
    prop_assert!(says_why, "{what}: {status} without a code: {}", answer.text);
    let in_words = answer.code().is_empty() || answer.text.contains("<Message>");
    prop_assert!(in_words, "{what}: {status} without words: {}", answer.text);
    Ok(())
}

/// Operations with a document, and one that they take.
const DOCUMENTS: &[(&str, &str, &str)] = &[
    (
        "PUT",
        "/films?tagging",
        "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
    ),
    (
        "PUT",
        "/films/a?tagging",
        "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
    ),
    (
        "PUT",
        "/films?cors",
        "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod><MaxAgeSeconds>5</MaxAgeSeconds></CORSRule></CORSConfiguration>",
    ),
    (
        "PUT",
        "/films?versioning",
        "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
    ),
    (
        "PUT",
        "/films?lifecycle",
        "<LifecycleConfiguration><Rule><ID>r</ID><Filter><Prefix>x/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>3</Days></Expiration></Rule></LifecycleConfiguration>",
    ),
    (
        "PUT",
        "/films?acl",
        "<AccessControlPolicy><Owner><ID>a</ID></Owner><AccessControlList><Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"><ID>a</ID></Grantee><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>",
    ),
    (
        "PUT",
        "/films?encryption",
        "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>",
    ),
    (
        "PUT",
        "/films?ownershipControls",
        "<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>",
    ),
    (
        "PUT",
        "/films?publicAccessBlock",
        "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>",
    ),
    (
        "PUT",
        "/films?notification",
        "<NotificationConfiguration><QueueConfiguration><Id>1</Id><Queue>arn:aws:sqs:::x</Queue><Event>s3:ObjectCreated:*</Event></QueueConfiguration></NotificationConfiguration>",
    ),
    (
        "PUT",
        "/films?object-lock",
        "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>",
    ),
    (
        "PUT",
        "/films/a?retention",
        "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate></Retention>",
    ),
    (
        "PUT",
        "/films/a?legal-hold",
        "<LegalHold><Status>OFF</Status></LegalHold>",
    ),
    (
        "PUT",
        "/films?website",
        "<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument></WebsiteConfiguration>",
    ),
    (
        "PUT",
        "/films?logging",
        "<BucketLoggingStatus></BucketLoggingStatus>",
    ),
    (
        "PUT",
        "/films?policy",
        "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"s3:GetObject\",\"Resource\":\"arn:aws:s3:::films/*\",\"Condition\":{\"IpAddress\":{\"aws:SourceIp\":\"10.0.0.0/8\"}}}]}",
    ),
    (
        "POST",
        "/films?delete",
        "<Delete><Object><Key>b</Key><VersionId>null</VersionId></Object><Quiet>false</Quiet></Delete>",
    ),
    (
        "POST",
        "/films/b?uploadId=0123456789abcdef0123456789abcdef",
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\"a\"</ETag></Part></CompleteMultipartUpload>",
    ),
    (
        "PUT",
        "/other",
        "<CreateBucketConfiguration><LocationConstraint>us-east-1</LocationConstraint></CreateBucketConfiguration>",
    ),
];

/// What breaks parsers.
const TOKENS: &[&str] = &[
    "<",
    ">",
    "</",
    "/>",
    "&",
    "&#0;",
    "&x;",
    "&lt;",
    "]]>",
    "<![CDATA[",
    "<!--",
    "<?xml version=\"1.0\"?>",
    "<!DOCTYPE a [<!ENTITY x \"y\">]>",
    "\u{0}",
    "\u{feff}",
    "é",
    "99999999999999999999",
    "-1",
    "0",
    "1e9",
    "",
    " ",
    "null",
    "true",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\u0000",
    "*",
    "?",
    "arn:aws:s3:::",
    "${aws:username}",
    "9999-99-99",
];

/// One change of a document: kind, place and length in 65536ths, and a token.
type Edit = (u8, u16, u16, usize);

fn edited(document: &str, edits: &[Edit]) -> Vec<u8> {
    let mut bytes = document.as_bytes().to_vec();
    for (kind, place, length, token) in edits {
        let from = bytes.len() * usize::from(*place) / 65_536;
        let to = from + (bytes.len() - from) * usize::from(*length) / 65_536;
        let token = TOKENS[token % TOKENS.len()].as_bytes();
        match kind % 5 {
            0 => drop(bytes.drain(from..to)),
            1 => drop(bytes.splice(from..from, token.iter().copied())),
            2 => drop(bytes.splice(from..to, token.iter().copied())),
            3 => {
                let again = bytes[from..to].repeat(1 + usize::from(*place) % 40);
                bytes.splice(from..from, again);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(from) {
                    *byte = byte.wrapping_add(1 + (*length % 255) as u8);
                }
            }
        }
        // A client's nonsense may be long, a test's need not be.
        bytes.truncate(100_000);
    }
    bytes
}

#[test]
fn no_document_is_a_fault_of_ours() {
    let edits = proptest::collection::vec(
        (any::<u8>(), any::<u16>(), any::<u16>(), any::<usize>()),
        0..6,
    );
    let strategy = (0..DOCUMENTS.len(), edits);
    over_a_house(&strategy, async |house, (which, edits)| {
        let (method, uri, document) = DOCUMENTS[which];
        let body = edited(document, &edits);
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let shown = format!("{method} {uri} {}", String::from_utf8_lossy(&body));
        let answer = house.ask(Some(&house.root), method, uri, &[], body).await;
        no_fault_of_ours(&answer, &shown)
    });
}

#[test]
fn arbitrary_bytes_are_no_fault_of_ours() {
    let strategy = (
        0..DOCUMENTS.len(),
        proptest::collection::vec(any::<u8>(), 0..300),
    );
    over_a_house(&strategy, async |house, (which, body)| {
        let (method, uri, _) = DOCUMENTS[which];
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = house.ask(Some(&house.root), method, uri, &[], body).await;
        no_fault_of_ours(&answer, uri)
    });
}

/// Something that may stand in a header: mostly of the shape that it should have.
fn range() -> impl Strategy<Value = String> {
    let number = || prop_oneof![0_u64..8, any::<u64>()];
    prop_oneof![
        (number(), number()).prop_map(|(a, b)| format!("bytes={a}-{b}")),
        number().prop_map(|a| format!("bytes={a}-")),
        number().prop_map(|a| format!("bytes=-{a}")),
        "[Bb]ytes ?= ?[0-9]{0,22}-[0-9]{0,22}",
        "[!-+--~]{1,20}",
        (number(), number()).prop_map(|(a, b)| format!("bytes={a}-{a},{b}-")),
    ]
}

#[test]
fn a_range_is_obeyed_or_ignored() {
    over_a_house(&range(), async |house, range| {
        let answer = house
            .ask(
                Some(&house.root),
                Method::GET,
                "/films/a",
                &[("range", &range)],
                "",
            )
            .await;
        let mut headers = http::HeaderMap::new();
        headers.insert("range", range.parse().unwrap());
        let bytes = |part: &Range<u64>| &BODY[part.start as usize..part.end as usize];
        let (status, text) = match select(&Method::GET, &headers, BODY.len() as u64) {
            Selection::Single(part) => (206, bytes(&part)),
            Selection::Unsatisfiable => (416, ""),
            Selection::Whole => (200, BODY),
            Selection::Multiple(parts) => {
                prop_assert_eq!(answer.status.as_u16(), 206, "{}", range);
                for part in parts {
                    let (first, last, size) = (part.start, part.end - 1, BODY.len());
                    let sent = format!("bytes {first}-{last}/{size}\r\n\r\n{}\r\n--", bytes(&part));
                    prop_assert!(answer.text.contains(&sent), "{range}: {}", answer.text);
                }
                return Ok(());
            }
        };
        prop_assert_eq!(answer.status.as_u16(), status, "{}: {}", range, answer.text);
        prop_assert!(
            status == 416 || answer.text == text,
            "{range}: {}",
            answer.text
        );
        Ok(())
    });
}

#[test]
fn a_condition_that_is_none_is_no_fault_of_ours() {
    let name = prop_oneof![
        Just("if-match"),
        Just("if-none-match"),
        Just("if-modified-since"),
        Just("if-unmodified-since"),
        Just("if-range"),
        Just("x-amz-copy-source"),
        Just("x-amz-tagging"),
        Just("x-amz-checksum-crc32"),
        Just("content-md5"),
        Just("expires"),
    ];
    let value = prop_oneof![
        "[!-~]([ -~]?[!-~]){0,20}",
        Just("\"5d41402abc4b2a76b9719d911017c592\"".to_owned()),
        Just("Sun, 06 Nov 1994 08:49:37 GMT".to_owned()),
        "(Mon|Sun), [0-9]{2} (Nov|Feb) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
    ];
    let strategy = (
        proptest::collection::btree_map(name, value, 0..4),
        0..3_usize,
    );
    over_a_house(&strategy, async |house, (headers, method)| {
        let pairs: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let method = [Method::GET, Method::HEAD, Method::PUT][method].clone();
        let uri = if method == Method::PUT {
            "/films/b"
        } else {
            "/films/a"
        };
        let is_head = method == Method::HEAD;
        let shown = format!("{method} {headers:?}");
        let answer = house.ask(Some(&house.root), method, uri, &pairs, "").await;
        let status = answer.status.as_u16();
        prop_assert!(
            status < 500 || status == 501,
            "{shown}: {status} {}",
            answer.text
        );
        let read_only = pairs.iter().all(|(name, _)| name.starts_with("if-"));
        if uri == "/films/a" && read_only {
            // A read is answered, whatever its conditions look like.
            prop_assert!(
                [200, 304, 412].contains(&status),
                "{shown}: {status} {}",
                answer.text
            );
        } else if !is_head {
            no_fault_of_ours(&answer, &shown)
                .or_else(|e| if status == 304 { Ok(()) } else { Err(e) })?;
        }
        Ok(())
    });
}

#[tokio::test]
async fn every_refusal_says_in_words_what_is_wrong() {
    let house = House::open().await;
    let forger = Key {
        id: house.root.id.clone(),
        secret: "another-secret-of-forty-characters-00000".into(),
    };
    let root = &house.root;
    house.put(Some(root), "/bucket", &[]).await;
    let long = format!("/bucket/{}", "k".repeat(1025));
    for (key, uri, code, words) in [
        (&forger, "/bucket", "SignatureDoesNotMatch", "secret key"),
        (root, "/b_d", "InvalidBucketName", "3 to 63 characters"),
        (root, long.as_str(), "KeyTooLongError", "at most 1024 bytes"),
    ] {
        let answer = house.get(Some(key), uri).await;
        assert_eq!(answer.code(), code, "{}", answer.text);
        let told = answer.text.split("<Message>").nth(1).unwrap_or_default();
        assert!(told.contains(words), "{}", answer.text);
        assert_eq!(
            answer.text.matches("<Message>").count(),
            1,
            "{}",
            answer.text
        );
    }
}

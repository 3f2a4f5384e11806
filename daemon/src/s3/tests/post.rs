//! Forms, as browsers and their servers make them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::{Answer, House, Key, amz_now, hmac, signing_key, whole};
use crate::identity::Role;
use crate::s3::DEFAULT_REGION;

const LATER: &str = "2099-01-01T00:00:00Z";

/// A form as a browser writes it.
fn form(fields: &[(&str, String)], file: &[u8]) -> Bytes {
    let mut out = Vec::new();
    for (name, value) in fields {
        let head = format!("--b0\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"--b0\r\nContent-Disposition: form-data; name=\"file\"; filename=\"cat.txt\"\r\nContent-Type: text/plain\r\n\r\n");
    out.extend_from_slice(file);
    out.extend_from_slice(b"\r\n--b0--\r\n");
    out.into()
}

async fn send(house: &House, headers: &[(&str, &str)], body: Bytes) -> Answer {
    let mut all = vec![("content-type", "multipart/form-data; boundary=b0")];
    all.extend_from_slice(headers);
    house.ask(None, Method::POST, "/films", &all, body).await
}

/// Fields that sign a policy document with version 4, in front of `fields`.
fn signed(key: &Key, conditions: &Value, fields: &[(&str, &str)]) -> Vec<(&'static str, String)> {
    let date = amz_now();
    let day = &date[..8];
    let credential = format!("{}/{day}/{DEFAULT_REGION}/s3/aws4_request", key.id);
    let mut conditions = conditions.as_array().unwrap().clone();
    conditions.push(json!({"x-amz-algorithm": "AWS4-HMAC-SHA256"}));
    conditions.push(json!({"x-amz-credential": credential}));
    conditions.push(json!({"x-amz-date": date}));
    let document = json!({"expiration": LATER, "conditions": conditions}).to_string();
    let policy = BASE64_STANDARD.encode(document);
    let signature = hex::encode(hmac(&signing_key(&key.secret, day), policy.as_bytes()));
    let mut all: Vec<(&'static str, String)> = fields
        .iter()
        .map(|(name, value)| (&*(*name).to_owned().leak(), (*value).to_owned()))
        .collect();
    all.extend([
        ("policy", policy),
        ("x-amz-algorithm", "AWS4-HMAC-SHA256".to_owned()),
        ("x-amz-credential", credential),
        ("X-Amz-Date", date),
        ("x-amz-signature", signature),
    ]);
    all
}

fn plain() -> Value {
    json!([{"bucket": "films"}, ["starts-with", "$key", "in/"]])
}

async fn films() -> (House, Key) {
    let house = House::open().await;
    let owner = house.key("owner", Role::Own).await;
    house.put(Some(&owner), "/films", &[]).await;
    (house, owner)
}

#[tokio::test]
async fn a_signed_form_stores_its_file_with_everything_it_says() {
    let (house, owner) = films().await;
    let conditions = json!([{"bucket": "films"}, ["starts-with", "$key", "in/"], ["starts-with", "$Content-Type", "text/"],
        {"acl": "public-read"}, ["eq", "$x-amz-meta-a", "1"], ["starts-with", "$tagging", ""],
        ["content-length-range", 1, 100], {"success_action_status": "201"}]);
    let tags = "<Tagging><TagSet><Tag><Key>team</Key><Value>red</Value></Tag></TagSet></Tagging>";
    let fields = signed(
        &owner,
        &conditions,
        &[
            ("key", "in/${filename}"),
            ("Content-Type", "text/x"),
            ("acl", "public-read"),
            ("x-amz-meta-a", "1"),
            ("tagging", tags),
            ("success_action_status", "201"),
        ],
    );
    let stored = send(&house, &[], form(&fields, b"meow\r\n--b")).await;
    assert_eq!(stored.status, StatusCode::CREATED, "{}", stored.text);
    assert!(
        stored.text.contains("<Key>in/cat.txt</Key>"),
        "{}",
        stored.text
    );
    assert_eq!(
        stored.headers["location"],
        "http://127.0.0.1:9000/films/in/cat.txt"
    );
    assert!(stored.headers.contains_key("etag") && stored.headers.contains_key("x-amz-request-id"));
    // Public by its own list.
    let read = house.get(None, "/films/in/cat.txt").await;
    assert_eq!(read.text, "meow\r\n--b");
    assert_eq!(read.headers["content-type"], "text/x");
    assert_eq!(read.headers["x-amz-meta-a"], "1");
    let tags = house.get(Some(&owner), "/films/in/cat.txt?tagging").await;
    assert!(tags.text.contains("<Value>red</Value>"), "{}", tags.text);
    let told = house.store.catalog().events_after(0, 100).await.unwrap();
    let payload = &told.last().unwrap().payload;
    assert!(payload.contains(r#""via":"post""#), "{payload}");
}

#[tokio::test]
async fn version_2_signs_forms_too() {
    let (house, owner) = films().await;
    let policy =
        BASE64_STANDARD.encode(json!({"expiration": LATER, "conditions": plain()}).to_string());
    let sign = |secret: &str| {
        let mut mac = Hmac::<sha1::Sha1>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(policy.as_bytes());
        BASE64_STANDARD.encode(mac.finalize().into_bytes())
    };
    let fields = |signature: String| {
        vec![
            ("key", "in/a".to_owned()),
            ("AWSAccessKeyId", owner.id.clone()),
            ("policy", policy.clone()),
            ("signature", signature),
        ]
    };
    let stored = send(&house, &[], form(&fields(sign(&owner.secret)), b"x")).await;
    assert_eq!(stored.status, StatusCode::NO_CONTENT, "{}", stored.text);
    let forged = send(&house, &[], form(&fields(sign("guess")), b"x")).await;
    assert_eq!(forged.code(), "SignatureDoesNotMatch");
}

#[tokio::test]
async fn a_form_says_no_more_than_its_policy_allows() {
    let (house, owner) = films().await;
    let ask = |fields: Vec<(&'static str, String)>, file: &'static [u8]| {
        let house = &house;
        async move { send(house, &[], form(&fields, file)).await }
    };
    let code = |answer: Answer| answer.code().to_owned();
    let good = || signed(&owner, &plain(), &[("key", "in/a")]);
    assert_eq!(ask(good(), b"x").await.status, StatusCode::NO_CONTENT);
    assert_eq!(
        code(ask(signed(&owner, &plain(), &[("key", "out/a")]), b"x").await),
        "AccessDenied"
    );
    let extra = signed(&owner, &plain(), &[("key", "in/a"), ("acl", "public-read")]);
    assert_eq!(code(ask(extra, b"x").await), "AccessDenied");
    let mut forged = good();
    forged.last_mut().unwrap().1 = "0".repeat(64);
    assert_eq!(code(ask(forged, b"x").await), "SignatureDoesNotMatch");
    let mut unsigned = good();
    unsigned.retain(|(name, _)| *name == "key" || *name == "policy");
    assert_eq!(code(ask(unsigned, b"x").await), "InvalidArgument");
    let range = |least: u64, most: u64| {
        let mut conditions = plain();
        conditions
            .as_array_mut()
            .unwrap()
            .push(json!(["content-length-range", least, most]));
        signed(&owner, &conditions, &[("key", "in/range")])
    };
    assert_eq!(code(ask(range(0, 3), b"four").await), "EntityTooLarge");
    assert_eq!(code(ask(range(5, 9), b"four").await), "EntityTooSmall");
    assert_eq!(
        house.get(Some(&owner), "/films/in/range").await.code(),
        "NoSuchKey"
    );
    let stranger = vec![("key", "in/a".to_owned())];
    assert_eq!(code(ask(stranger, b"x").await), "AccessDenied");
    let unknown = Key {
        id: "NEBNOBODYATALL".into(),
        ..owner.clone()
    };
    assert_eq!(
        code(ask(signed(&unknown, &plain(), &[("key", "in/a")]), b"x").await),
        "InvalidAccessKeyId"
    );
    // The rights of the signer are those of a PUT.
    let reader = house.key("reader", Role::Read).await;
    assert_eq!(
        code(ask(signed(&reader, &plain(), &[("key", "in/a")]), b"x").await),
        "AccessDenied"
    );
    assert_eq!(code(ask(vec![], b"x").await), "UserKeyMustBeSpecified");
}

#[tokio::test]
async fn a_sum_in_a_field_is_verified() {
    let (house, owner) = films().await;
    let with = |sum: &str| {
        signed(
            &owner,
            &plain(),
            &[("key", "in/sum"), ("x-amz-checksum-crc32", sum)],
        )
    };
    let wrong = send(&house, &[], form(&with("AAAAAA=="), b"hello")).await;
    assert_eq!(wrong.code(), "BadDigest", "{}", wrong.text);
    let right = send(&house, &[], form(&with("NhCmhg=="), b"hello")).await;
    assert_eq!(right.status, StatusCode::NO_CONTENT, "{}", right.text);
}

#[tokio::test]
async fn strangers_fill_a_bucket_that_is_open_to_them_and_are_sent_on() {
    let (house, owner) = films().await;
    house
        .put(
            Some(&owner),
            "/films?acl",
            &[("x-amz-acl", "public-read-write")],
        )
        .await;
    let fields = [
        ("key", "a b".to_owned()),
        ("acl", "public-read".to_owned()),
        (
            "success_action_redirect",
            "http://example.org/done?x=1".to_owned(),
        ),
    ];
    // From a page of another site, which is what strangers use.
    let stored = send(
        &house,
        &[("origin", "https://example.org")],
        form(&fields, b"x"),
    )
    .await;
    assert_eq!(stored.status, StatusCode::SEE_OTHER, "{}", stored.text);
    let location = stored.headers["location"].to_str().unwrap();
    assert!(
        location.starts_with("http://example.org/done?x=1&bucket=films&key=a%20b&etag=%22"),
        "{location}"
    );
    assert_eq!(house.get(None, "/films/a%20b").await.status, StatusCode::OK);
}

#[tokio::test]
async fn headers_of_the_form_itself_mean_nothing() {
    let (house, owner) = films().await;
    house.put(Some(&owner), "/films/secret", &[]).await;
    let fields = signed(&owner, &plain(), &[("key", "in/a"), ("x-ignore-x", "1")]);
    let smuggled = [
        ("x-amz-copy-source", "/films/secret"),
        ("x-amz-acl", "public-read"),
    ];
    let stored = send(&house, &smuggled, form(&fields, b"mine")).await;
    assert_eq!(stored.status, StatusCode::NO_CONTENT, "{}", stored.text);
    assert_eq!(house.get(Some(&owner), "/films/in/a").await.text, "mine");
    assert_eq!(
        house.get(None, "/films/in/a").await.status,
        StatusCode::FORBIDDEN
    );
    let twice = send(
        &house,
        &[("authorization", "AWS4-HMAC-SHA256 x")],
        form(&fields, b"mine"),
    )
    .await;
    assert_eq!(twice.code(), "InvalidArgument");
}

#[tokio::test]
async fn a_large_file_passes_through_in_pieces() {
    let (house, owner) = films().await;
    // A body that is made while it is read, and counts what was asked for ahead of what was stored.
    let fields = signed(&owner, &plain(), &[("key", "in/large")]);
    let whole_form = form(&fields, b"");
    let end = whole_form.len() - "\r\n--b0--\r\n".len();
    let (head, tail) = (whole_form.slice(..end), whole_form.slice(end..));
    let piece = Bytes::from(vec![7_u8; 64 * 1024]);
    let pieces = std::iter::once(head)
        .chain(std::iter::repeat_n(piece, 160))
        .chain(std::iter::once(tail))
        .map(|bytes| Ok::<_, std::io::Error>(http_body::Frame::data(bytes)));
    let body = http_body_util::StreamBody::new(futures::stream::iter(pieces));
    let request = Request::post("/films")
        .header("host", "127.0.0.1:9000")
        .header("content-type", "multipart/form-data; boundary=b0")
        .body(body)
        .unwrap();
    let stored = whole(house.door.call(request).await).await;
    assert_eq!(stored.status, StatusCode::NO_CONTENT, "{}", stored.text);
    let head = house
        .ask(Some(&owner), Method::HEAD, "/films/in/large", &[], "")
        .await;
    assert_eq!(
        head.headers["content-length"],
        (160 * 64 * 1024).to_string()
    );
}

#[tokio::test]
async fn a_form_that_cannot_fit_is_refused_by_its_declared_length() {
    let (house, owner) = films().await;
    let sent = |conditions: Value, length: &'static str| {
        let fields = signed(&owner, &conditions, &[("key", "in/huge")]);
        let (house, body) = (&house, form(&fields, b"the beginning"));
        async move { send(house, &[("content-length", length)], body).await }
    };
    let mut bounded = plain();
    let range = json!(["content-length-range", 0, 1_000_000]);
    bounded.as_array_mut().unwrap().push(range);
    let refused = sent(bounded.clone(), "5000000000").await;
    assert_eq!(refused.code(), "EntityTooLarge", "{}", refused.text);
    // What follows a file may be a mebibyte, so a little more than is allowed is found on the way.
    let taken = sent(bounded, "1500000").await;
    assert_eq!(taken.status, StatusCode::NO_CONTENT, "{}", taken.text);
    let refused = sent(plain(), "4000000000000000").await;
    assert_eq!(refused.code(), "InsufficientStorage", "{}", refused.text);
}

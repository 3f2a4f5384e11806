//! The Rust SDK.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    AccelerateConfiguration, BucketAccelerateStatus, ChecksumAlgorithm, ChecksumMode, EncodingType,
};
use bytes::Bytes;

use super::server::Server;

pub(super) const MIB: usize = 1024 * 1024;

/// Code and status of a refusal.
pub(super) fn refused<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(
    result: Result<T, SdkError<E>>,
) -> (String, u16) {
    let error = result.unwrap_err();
    let status = error
        .raw_response()
        .map_or(0, |response| response.status().as_u16());
    (error.code().unwrap_or_default().to_owned(), status)
}

pub(super) async fn put(client: &Client, key: &str, body: impl Into<Bytes>) {
    client
        .put_object()
        .bucket("films")
        .key(key)
        .body(ByteStream::from(body.into()))
        .send()
        .await
        .unwrap();
}

pub(super) async fn body(client: &Client, key: &str) -> Bytes {
    let answer = client
        .get_object()
        .bucket("films")
        .key(key)
        .send()
        .await
        .unwrap();
    answer.body.collect().await.unwrap().into_bytes()
}

pub(super) async fn house() -> (Server, Client) {
    let server = Server::start().await;
    let client = server.client();
    client.create_bucket().bucket("films").send().await.unwrap();
    (server, client)
}

pub(super) fn noise(bytes: usize) -> Bytes {
    let mut noise = vec![0; bytes];
    getrandom::fill(&mut noise).unwrap();
    noise.into()
}

#[tokio::test]
async fn buckets_come_and_go() {
    let (_server, client) = house().await;
    let named = client.list_buckets().send().await.unwrap();
    assert_eq!(named.buckets()[0].name(), Some("films"));
    client.head_bucket().bucket("films").send().await.unwrap();
    client.create_bucket().bucket("films").send().await.unwrap();
    assert_eq!(
        refused(client.create_bucket().bucket("No_Good").send().await).1,
        400
    );
    client
        .get_bucket_location()
        .bucket("films")
        .send()
        .await
        .unwrap();
    put(&client, "a", "x").await;
    assert_eq!(
        refused(client.delete_bucket().bucket("films").send().await),
        ("BucketNotEmpty".into(), 409)
    );
    client
        .delete_object()
        .bucket("films")
        .key("a")
        .send()
        .await
        .unwrap();
    client.delete_bucket().bucket("films").send().await.unwrap();
    assert_eq!(
        refused(client.head_bucket().bucket("films").send().await).1,
        404
    );
    assert_eq!(
        refused(client.list_objects_v2().bucket("films").send().await),
        ("NoSuchBucket".into(), 404)
    );
}

#[tokio::test]
async fn objects_round_trip_whatever_their_size() {
    let (_server, client) = house().await;
    for size in [0, 1, 16 * 1024, 16 * 1024 + 1, 300_000, 5 * MIB + 17] {
        let sent = noise(size);
        put(&client, "dir/key with ü", sent.clone()).await;
        assert_eq!(body(&client, "dir/key with ü").await, sent, "{size}");
    }
    let sent = client
        .put_object()
        .bucket("films")
        .key("film")
        .body(ByteStream::from_static(b"0123456789"))
        .content_type("video/mp4")
        .content_encoding("gzip")
        .cache_control("no-store")
        .metadata("Title", "plain words")
        .tagging("a=1&b=2")
        .send()
        .await
        .unwrap();
    let head = client
        .head_object()
        .bucket("films")
        .key("film")
        .checksum_mode(ChecksumMode::Enabled)
        .send()
        .await
        .unwrap();
    assert_eq!(head.e_tag(), sent.e_tag());
    assert_eq!(head.content_length(), Some(10));
    assert_eq!(head.content_type(), Some("video/mp4"));
    assert_eq!(
        head.content_encoding(),
        Some("gzip"),
        "aws-chunked is no encoding of the object"
    );
    assert_eq!(
        head.metadata().unwrap().get("title").map(String::as_str),
        Some("plain words")
    );
    assert!(
        head.checksum_crc32().is_some(),
        "the SDK sends one in a trailer"
    );
    let tagged = client
        .get_object()
        .bucket("films")
        .key("film")
        .send()
        .await
        .unwrap();
    assert_eq!(tagged.tag_count(), Some(2));
}

#[tokio::test]
async fn ranges_and_conditions_of_a_read() {
    let (_server, client) = house().await;
    put(&client, "k", "0123456789").await;
    let get = || client.get_object().bucket("films").key("k");
    let part = get().range("bytes=2-4").send().await.unwrap();
    assert_eq!(part.content_range(), Some("bytes 2-4/10"));
    assert_eq!(part.body.collect().await.unwrap().into_bytes(), "234");
    let tail = get().range("bytes=-3").send().await.unwrap();
    assert_eq!(tail.body.collect().await.unwrap().into_bytes(), "789");
    assert_eq!(
        refused(get().range("bytes=10-").send().await),
        ("InvalidRange".into(), 416)
    );
    let etag = get().send().await.unwrap().e_tag().unwrap().to_owned();
    assert_eq!(refused(get().if_none_match(&etag).send().await).1, 304);
    assert_eq!(
        refused(get().if_match("\"other\"").send().await),
        ("PreconditionFailed".into(), 412)
    );
    get().if_match(&etag).send().await.unwrap();
    let shown = get()
        .response_content_type("text/plain")
        .send()
        .await
        .unwrap();
    assert_eq!(shown.content_type(), Some("text/plain"));
    assert_eq!(
        refused(client.get_object().bucket("films").key("none").send().await),
        ("NoSuchKey".into(), 404)
    );
    assert_eq!(
        refused(client.get_object().bucket("none").key("none").send().await),
        ("NoSuchBucket".into(), 404)
    );
    let long = "k".repeat(1025);
    assert_eq!(
        refused(client.put_object().bucket("films").key(long).send().await),
        ("KeyTooLongError".into(), 400)
    );
}

#[tokio::test]
async fn a_write_is_a_true_compare_and_swap() {
    let (_server, client) = house().await;
    let write = |n: usize| {
        let put = client
            .put_object()
            .bucket("films")
            .key("lock")
            .if_none_match("*")
            .body(ByteStream::from(vec![b'x'; n]));
        async move { put.send().await }
    };
    let outcomes = futures::future::join_all((1..=16).map(write)).await;
    assert_eq!(
        outcomes.iter().filter(|outcome| outcome.is_ok()).count(),
        1,
        "one writer wins"
    );
    for lost in outcomes.into_iter().filter(Result::is_err) {
        assert_eq!(refused(lost), ("PreconditionFailed".into(), 412));
    }
    let put_if = |etag: &str| {
        client
            .put_object()
            .bucket("films")
            .key("lock")
            .if_match(etag)
            .body(ByteStream::from_static(b"new"))
    };
    assert_eq!(
        refused(put_if("\"stale\"").send().await),
        ("PreconditionFailed".into(), 412)
    );
    let current = client
        .head_object()
        .bucket("films")
        .key("lock")
        .send()
        .await
        .unwrap();
    put_if(current.e_tag().unwrap()).send().await.unwrap();
    let absent = client
        .put_object()
        .bucket("films")
        .key("absent")
        .if_match("*")
        .body(ByteStream::from_static(b"x"));
    assert_eq!(refused(absent.send().await), ("NoSuchKey".into(), 404));
}

#[tokio::test]
async fn a_digest_that_does_not_fit_publishes_nothing() {
    let (_server, client) = house().await;
    let put = || {
        client
            .put_object()
            .bucket("films")
            .key("k")
            .body(ByteStream::from_static(b"abc"))
    };
    assert_eq!(
        refused(put().content_md5("1B2M2Y8AsgTpgAmY7PhCfg==").send().await),
        ("BadDigest".into(), 400)
    );
    assert_eq!(
        refused(put().checksum_crc32("AAAAAA==").send().await),
        ("BadDigest".into(), 400)
    );
    assert_eq!(
        refused(client.head_object().bucket("films").key("k").send().await).1,
        404
    );
    for algorithm in [
        ChecksumAlgorithm::Crc32,
        ChecksumAlgorithm::Crc32C,
        ChecksumAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha1,
        ChecksumAlgorithm::Sha256,
    ] {
        put()
            .checksum_algorithm(algorithm.clone())
            .send()
            .await
            .unwrap();
        let get = client
            .get_object()
            .bucket("films")
            .key("k")
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await
            .unwrap();
        assert_eq!(
            get.body.collect().await.unwrap().into_bytes(),
            "abc",
            "{algorithm:?}"
        );
    }
}

#[tokio::test]
async fn listings_page_and_fold() {
    let (_server, client) = house().await;
    for key in ["a/1", "a/2", "b c+d", "c/1", "d"] {
        put(&client, key, "x").await;
    }
    let list = || client.list_objects_v2().bucket("films");
    let mut seen = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let page = list()
            .delimiter("/")
            .max_keys(1)
            .set_continuation_token(token.clone())
            .send()
            .await
            .unwrap();
        seen.extend(page.contents().iter().map(|o| o.key().unwrap().to_owned()));
        seen.extend(
            page.common_prefixes()
                .iter()
                .map(|p| p.prefix().unwrap().to_owned()),
        );
        token = page.next_continuation_token().map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["a/", "b c+d", "c/", "d"]);
    let all = list().start_after("a/1").prefix("a").send().await.unwrap();
    assert_eq!(all.contents()[0].key(), Some("a/2"));
    let encoded = list()
        .encoding_type(EncodingType::Url)
        .prefix("b")
        .send()
        .await
        .unwrap();
    assert_eq!(encoded.contents()[0].key(), Some("b%20c%2Bd"));
    assert_eq!(
        list().max_keys(0).send().await.unwrap().key_count(),
        Some(0)
    );
    let first = client
        .list_objects()
        .bucket("films")
        .delimiter("/")
        .max_keys(1)
        .send()
        .await
        .unwrap();
    assert_eq!(
        (first.next_marker(), first.is_truncated()),
        (Some("a/"), Some(true))
    );
}

#[tokio::test]
async fn strangers_and_wrong_secrets_are_refused() {
    let (server, client) = house().await;
    put(&client, "k", "x").await;
    let wrong = server.client_of(super::server::ACCESS_KEY, "wrong");
    assert_eq!(
        refused(wrong.get_object().bucket("films").key("k").send().await),
        ("SignatureDoesNotMatch".into(), 403)
    );
    let unknown = server.client_of("NEBNOBODY", "x");
    assert_eq!(
        refused(unknown.get_object().bucket("films").key("k").send().await),
        ("InvalidAccessKeyId".into(), 403)
    );
    let faster = AccelerateConfiguration::builder()
        .status(BucketAccelerateStatus::Enabled)
        .build();
    let unbuilt = client
        .put_bucket_accelerate_configuration()
        .bucket("films")
        .accelerate_configuration(faster);
    assert_eq!(
        refused(unbuilt.send().await),
        ("NotImplemented".into(), 501)
    );
}

#[tokio::test]
async fn a_copy_has_the_checksum_that_it_is_asked_for() {
    let (_server, client) = house().await;
    // A composite checksum of parts, and a plain one of another kind.
    put(&client, "plain", "123456789").await;
    let copy = |to: &'static str, algorithm: Option<ChecksumAlgorithm>| {
        let ask = client.copy_object().bucket("films").key(to);
        ask.copy_source("films/plain")
            .set_checksum_algorithm(algorithm)
            .send()
    };
    let kept = copy("kept", None)
        .await
        .unwrap()
        .copy_object_result
        .unwrap();
    assert!(kept.checksum_crc32().is_some() && kept.checksum_sha256().is_none());
    let copied = copy("new", Some(ChecksumAlgorithm::Crc64Nvme))
        .await
        .unwrap();
    let copied = copied.copy_object_result.unwrap();
    assert_eq!(copied.checksum_crc64_nvme(), Some("rosUhgp5mIg="));
    let head = client.head_object().bucket("films").key("new");
    let head = head
        .checksum_mode(ChecksumMode::Enabled)
        .send()
        .await
        .unwrap();
    assert_eq!(head.checksum_crc64_nvme(), Some("rosUhgp5mIg="));
    assert_eq!(head.checksum_crc32(), None);
}

//! The Rust SDK: encryption with keys of the appliance and of the customer.

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    CompletedMultipartUpload, CompletedPart, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use md5::Digest as _;
use nebula_tests::Appliance;

use super::sdk::{MIB, house, noise, refused};

/// A customer's key as a client sends it: the key and its MD5, in base64.
struct Customer {
    key: String,
    md5: String,
}

fn customer(seed: u8) -> Customer {
    Customer {
        key: BASE64_STANDARD.encode([seed; 32]),
        md5: BASE64_STANDARD.encode(md5::Md5::digest([seed; 32])),
    }
}

/// Gives a request the key of a customer.
macro_rules! with_key {
    ($request:expr, $customer:expr) => {
        $request
            .sse_customer_algorithm("AES256")
            .sse_customer_key(&$customer.key)
            .sse_customer_key_md5(&$customer.md5)
    };
}

/// Gives a copy the key of its source.
macro_rules! with_source_key {
    ($request:expr, $customer:expr) => {
        $request
            .copy_source_sse_customer_algorithm("AES256")
            .copy_source_sse_customer_key(&$customer.key)
            .copy_source_sse_customer_key_md5(&$customer.md5)
    };
}

fn put(
    client: &Client,
    key: &str,
    bytes: &Bytes,
) -> aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder {
    let body = ByteStream::from(bytes.clone());
    client.put_object().bucket("films").key(key).body(body)
}

fn get(
    client: &Client,
    key: &str,
) -> aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder {
    client.get_object().bucket("films").key(key)
}

async fn bytes_of(answer: GetObjectOutput) -> Bytes {
    answer.body.collect().await.unwrap().into_bytes()
}

fn by_default(kind: ServerSideEncryption, name: Option<&str>) -> ServerSideEncryptionConfiguration {
    let kind = ServerSideEncryptionByDefault::builder()
        .sse_algorithm(kind)
        .set_kms_master_key_id(name.map(str::to_owned))
        .build()
        .unwrap();
    let rule = ServerSideEncryptionRule::builder()
        .apply_server_side_encryption_by_default(kind)
        .build();
    ServerSideEncryptionConfiguration::builder()
        .rules(rule)
        .build()
        .unwrap()
}

#[tokio::test]
async fn what_the_appliance_encrypts_reads_as_if_it_did_not() {
    let (server, client) = house().await;
    for size in [0, 100, 2 * MIB + 5] {
        let bytes = noise(size);
        let request =
            put(&client, "s3", &bytes).server_side_encryption(ServerSideEncryption::Aes256);
        let stored = request.send().await.unwrap();
        assert_eq!(
            stored.server_side_encryption(),
            Some(&ServerSideEncryption::Aes256)
        );
        let md5 = hex::encode(md5::Md5::digest(&bytes));
        assert_eq!(stored.e_tag(), Some(format!("\"{md5}\"").as_str()));
        let answer = get(&client, "s3").send().await.unwrap();
        assert_eq!(
            answer.server_side_encryption(),
            Some(&ServerSideEncryption::Aes256)
        );
        assert_eq!(answer.content_length(), Some(size as i64));
        assert!(bytes_of(answer).await == bytes, "{size}");
    }
    let whole = bytes_of(get(&client, "s3").send().await.unwrap()).await;
    for (first, last) in [
        (0, 0),
        (MIB - 1, MIB),
        (MIB, 2 * MIB),
        (2 * MIB, 2 * MIB + 4),
    ] {
        let range = format!("bytes={first}-{last}");
        let answer = get(&client, "s3").range(range).send().await.unwrap();
        assert_eq!(bytes_of(answer).await, whole.slice(first..=last));
    }
    // By name: told again, and never without one.
    let kms = || put(&client, "kms", &whole).server_side_encryption(ServerSideEncryption::AwsKms);
    assert_eq!(refused(kms().send().await), ("InvalidArgument".into(), 400));
    kms().ssekms_key_id("films-2026").send().await.unwrap();
    let head = client
        .head_object()
        .bucket("films")
        .key("kms")
        .send()
        .await
        .unwrap();
    assert_eq!(
        head.server_side_encryption(),
        Some(&ServerSideEncryption::AwsKms)
    );
    assert_eq!(head.ssekms_key_id(), Some("films-2026"));
    assert!(bytes_of(get(&client, "kms").send().await.unwrap()).await == whole);
    assert_eq!(server.store.fsck(true).await.unwrap().findings, []);
}

#[tokio::test]
async fn a_customers_key_opens_what_it_closed_and_no_other_does() {
    let (server, client) = house().await;
    let (right, wrong) = (customer(1), customer(2));
    let bytes = noise(MIB + 9);
    let stored = with_key!(put(&client, "c", &bytes), right)
        .send()
        .await
        .unwrap();
    assert_eq!(stored.sse_customer_algorithm(), Some("AES256"));
    assert_eq!(stored.sse_customer_key_md5(), Some(right.md5.as_str()));
    let answer = with_key!(get(&client, "c"), right).send().await.unwrap();
    assert_eq!(answer.sse_customer_key_md5(), Some(right.md5.as_str()));
    assert!(bytes_of(answer).await == bytes);
    let range = with_key!(get(&client, "c").range("bytes=1048570-1048580"), right);
    let range = bytes_of(range.send().await.unwrap()).await;
    assert_eq!(range, bytes.slice(1_048_570..=1_048_580));
    let head = || client.head_object().bucket("films").key("c");
    with_key!(head(), right).send().await.unwrap();
    // Without the key, or with another, nothing of the object is told.
    assert_eq!(
        refused(get(&client, "c").send().await),
        ("InvalidRequest".into(), 400)
    );
    let other = with_key!(get(&client, "c"), wrong).send().await;
    assert_eq!(refused(other), ("InvalidArgument".into(), 400));
    assert_eq!(refused(head().send().await).1, 400);
    assert_eq!(refused(with_key!(head(), wrong).send().await).1, 400);
    // A key for what needs none.
    put(&client, "plain", &bytes).send().await.unwrap();
    let needless = with_key!(get(&client, "plain"), right).send().await;
    assert_eq!(refused(needless), ("InvalidRequest".into(), 400));
    // Copies: the source's key, and the copy's own.
    let copy = |to: &str| {
        client
            .copy_object()
            .bucket("films")
            .key(to)
            .copy_source("films/c")
    };
    assert_eq!(
        refused(copy("d").send().await),
        ("InvalidRequest".into(), 400)
    );
    let copied = with_key!(with_source_key!(copy("d"), right), wrong)
        .send()
        .await
        .unwrap();
    assert_eq!(copied.sse_customer_key_md5(), Some(wrong.md5.as_str()));
    let answer = with_key!(get(&client, "d"), wrong).send().await.unwrap();
    assert!(bytes_of(answer).await == bytes);
    let silent = with_source_key!(copy("e"), right).send().await.unwrap();
    assert_eq!(
        silent.server_side_encryption(),
        Some(&ServerSideEncryption::Aes256)
    );
    assert!(bytes_of(get(&client, "e").send().await.unwrap()).await == bytes);
    assert_eq!(server.store.fsck(true).await.unwrap().findings, []);
}

#[tokio::test]
async fn the_parts_of_a_customers_upload_need_its_key_each() {
    let (_server, client) = house().await;
    let (right, wrong) = (customer(1), customer(2));
    let source = noise(6 * MIB);
    with_key!(put(&client, "source", &source), wrong)
        .send()
        .await
        .unwrap();
    let create = client.create_multipart_upload().bucket("films").key("big");
    let create = with_key!(create, right).send().await.unwrap();
    assert_eq!(create.sse_customer_key_md5(), Some(right.md5.as_str()));
    let id = create.upload_id().unwrap();
    let pieces = [noise(5 * MIB + 3), noise(77)];
    let part = |number, piece: &Bytes| {
        let request = client
            .upload_part()
            .bucket("films")
            .key("big")
            .upload_id(id);
        request
            .part_number(number)
            .body(ByteStream::from(piece.clone()))
    };
    assert_eq!(refused(part(1, &pieces[0]).send().await).1, 400);
    assert_eq!(
        refused(with_key!(part(1, &pieces[0]), wrong).send().await).1,
        400
    );
    let first = with_key!(part(1, &pieces[0]), right).send().await.unwrap();
    let copy = client
        .upload_part_copy()
        .bucket("films")
        .key("big")
        .upload_id(id);
    let copy = copy.part_number(2).copy_source("films/source");
    let copy = with_source_key!(copy.copy_source_range("bytes=100-5242979"), wrong);
    assert_eq!(refused(copy.clone().send().await).1, 400);
    let second = with_key!(copy, right).send().await.unwrap();
    let third = with_key!(part(3, &pieces[1]), right).send().await.unwrap();
    let tags = [
        first.e_tag().unwrap(),
        second.copy_part_result().unwrap().e_tag().unwrap(),
        third.e_tag().unwrap(),
    ];
    let named = (1..).zip(tags).map(|(number, tag)| {
        CompletedPart::builder()
            .part_number(number)
            .e_tag(tag)
            .build()
    });
    let named = CompletedMultipartUpload::builder()
        .set_parts(Some(named.collect()))
        .build();
    let complete = || {
        let request = client
            .complete_multipart_upload()
            .bucket("films")
            .key("big");
        request.upload_id(id).multipart_upload(named.clone())
    };
    assert_eq!(refused(complete().send().await).1, 400);
    with_key!(complete(), right).send().await.unwrap();
    let whole = [&pieces[0][..], &source[100..5 * MIB + 100], &pieces[1][..]].concat();
    let answer = with_key!(get(&client, "big"), right).send().await.unwrap();
    assert!(bytes_of(answer).await == whole);
    let second = with_key!(get(&client, "big").part_number(2), right)
        .send()
        .await
        .unwrap();
    assert!(bytes_of(second).await == source.slice(100..5 * MIB + 100));
    assert_eq!(refused(get(&client, "big").send().await).1, 400);
}

#[tokio::test]
async fn a_bucket_encrypts_by_default_until_it_is_told_otherwise() {
    let (_server, client) = house().await;
    let asked = || client.get_bucket_encryption().bucket("films").send();
    assert_eq!(
        refused(asked().await),
        ("ServerSideEncryptionConfigurationNotFoundError".into(), 404)
    );
    let bytes = noise(100_000);
    for (kind, name) in [
        (ServerSideEncryption::Aes256, None),
        (ServerSideEncryption::AwsKms, Some("films-2026")),
    ] {
        let config = by_default(kind.clone(), name);
        let set = client.put_bucket_encryption().bucket("films");
        set.server_side_encryption_configuration(config.clone())
            .send()
            .await
            .unwrap();
        let told = asked().await.unwrap();
        assert_eq!(told.server_side_encryption_configuration(), Some(&config));
        let stored = put(&client, "a", &bytes).send().await.unwrap();
        assert_eq!(stored.server_side_encryption(), Some(&kind));
        assert_eq!(stored.ssekms_key_id(), name);
        let copy = client
            .copy_object()
            .bucket("films")
            .key("b")
            .copy_source("films/a");
        assert_eq!(
            copy.send().await.unwrap().server_side_encryption(),
            Some(&kind)
        );
        let create = client.create_multipart_upload().bucket("films").key("c");
        assert_eq!(
            create.send().await.unwrap().server_side_encryption(),
            Some(&kind)
        );
        assert!(bytes_of(get(&client, "b").send().await.unwrap()).await == bytes);
    }
    client
        .delete_bucket_encryption()
        .bucket("films")
        .send()
        .await
        .unwrap();
    let stored = put(&client, "d", &bytes).send().await.unwrap();
    assert_eq!(stored.server_side_encryption(), None);
    let answer = get(&client, "a").send().await.unwrap();
    assert_eq!(
        answer.server_side_encryption(),
        Some(&ServerSideEncryption::AwsKms)
    );
    assert!(bytes_of(answer).await == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_door_encrypts_and_a_rotation_beside_the_daemon_harms_nobody() {
    let mut appliance = Appliance::start().await;
    let client = appliance.s3();
    client.create_bucket().bucket("films").send().await.unwrap();
    let config = by_default(ServerSideEncryption::Aes256, None);
    let set = client.put_bucket_encryption().bucket("films");
    set.server_side_encryption_configuration(config)
        .send()
        .await
        .unwrap();
    let bytes = noise(3 * MIB + 11);
    put(&client, "put", &bytes).send().await.unwrap();
    // A resumable upload: encrypted at its end, and its client compares the hash of what it sent.
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("pushed.bin");
    std::fs::write(&file, &bytes).unwrap();
    let cli = appliance.cli();
    cli.login().await;
    cli.ok(&["push", file.to_str().unwrap(), "films:"]).await;
    for blob in files_below(&appliance.data_dir().join("blobs")) {
        let stored = std::fs::read(&blob).unwrap();
        let plain = &bytes[2 * MIB..2 * MIB + 32];
        assert!(
            !stored.windows(32).any(|window| window == plain),
            "{}",
            blob.display()
        );
    }
    for _ in 0..2 {
        let rotate = appliance.role(&["keys", "rotate-encryption"]);
        let said = tokio::process::Command::from(rotate)
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.contains("Data keys wrapped anew: 2"), "{said}");
        for key in ["put", "pushed.bin"] {
            let answer = get(&client, key).send().await.unwrap();
            assert_eq!(
                answer.server_side_encryption(),
                Some(&ServerSideEncryption::Aes256)
            );
            assert!(bytes_of(answer).await == bytes, "{key}");
        }
    }
    // The key of everything sealed as well: the daemon that serves finds the new one by itself.
    let rotate = appliance.role(&["keys", "rotate-master"]);
    let said = tokio::process::Command::from(rotate)
        .output()
        .await
        .unwrap();
    assert!(said.status.success(), "{said:?}");
    put(&client, "after", &bytes).send().await.unwrap();
    assert!(bytes_of(get(&client, "after").send().await.unwrap()).await == bytes);
    let file = appliance
        .get("/-/file/films/pushed.bin")
        .send()
        .await
        .unwrap();
    assert!(file.bytes().await.unwrap() == bytes);
    with_key!(put(&client, "closed.mp4", &bytes), customer(1))
        .send()
        .await
        .unwrap();
    let closed = appliance
        .get("/-/file/films/closed.mp4")
        .send()
        .await
        .unwrap();
    assert_eq!(closed.status(), 403);
    appliance.fsck(true).await;
    // What one kill leaves, the next start reads.
    appliance.kill();
    appliance.restart().await;
    let client = appliance.s3();
    assert!(bytes_of(get(&client, "put").send().await.unwrap()).await == bytes);
}

fn files_below(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let (mut files, mut rest) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(path) = rest.pop() {
        if path.is_dir() {
            rest.extend(
                std::fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else {
            files.push(path);
        }
    }
    files
}

//! The Rust SDK: uploads in parts, copies, versions, multi-deletes and presigned URLs.

use super::sdk::{MIB, body, house, noise, put, refused};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketVersioningStatus, ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, Delete,
    MetadataDirective, ObjectIdentifier, VersioningConfiguration,
};
use std::time::Duration;

#[tokio::test]
async fn parts_become_one_object() {
    let (_server, client) = house().await;
    let create = client
        .create_multipart_upload()
        .bucket("films")
        .key("big")
        .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme);
    let id = create.send().await.unwrap().upload_id().unwrap().to_owned();
    let pieces = [noise(5 * MIB), noise(5 * MIB + 1), noise(10)];
    let mut named = CompletedMultipartUpload::builder();
    for (number, piece) in (1..).zip(&pieces) {
        let part = client
            .upload_part()
            .bucket("films")
            .key("big")
            .upload_id(&id)
            .part_number(number)
            .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
            .body(ByteStream::from(piece.clone()))
            .send()
            .await
            .unwrap();
        named = named.parts(
            CompletedPart::builder()
                .part_number(number)
                .e_tag(part.e_tag().unwrap())
                .build(),
        );
    }
    let listed = client
        .list_parts()
        .bucket("films")
        .key("big")
        .upload_id(&id)
        .send()
        .await
        .unwrap();
    assert_eq!(listed.parts().len(), 3);
    let uploads = client
        .list_multipart_uploads()
        .bucket("films")
        .send()
        .await
        .unwrap();
    assert_eq!(uploads.uploads()[0].upload_id(), Some(id.as_str()));
    let complete = || {
        client
            .complete_multipart_upload()
            .bucket("films")
            .key("big")
            .upload_id(&id)
            .multipart_upload(named.clone().build())
    };
    assert_eq!(
        refused(complete().checksum_crc64_nvme("AAAAAAAAAAA=").send().await),
        ("BadDigest".into(), 400)
    );
    let done = complete().send().await.unwrap();
    assert!(done.e_tag().unwrap().ends_with("-3\""));
    assert!(done.checksum_crc64_nvme().is_some());
    assert_eq!(
        complete().send().await.unwrap().e_tag(),
        done.e_tag(),
        "a repeated completion answers the same"
    );
    assert_eq!(body(&client, "big").await, pieces.concat());
    let second = client
        .get_object()
        .bucket("films")
        .key("big")
        .part_number(2)
        .send()
        .await
        .unwrap();
    assert_eq!(second.parts_count(), Some(3));
    assert_eq!(second.body.collect().await.unwrap().into_bytes(), pieces[1]);
    assert!(
        client
            .list_multipart_uploads()
            .bucket("films")
            .send()
            .await
            .unwrap()
            .uploads()
            .is_empty()
    );
}

#[tokio::test]
async fn uploads_in_parts_refuse_what_does_not_fit() {
    let (_server, client) = house().await;
    let begin = || async {
        client
            .create_multipart_upload()
            .bucket("films")
            .key("k")
            .send()
            .await
            .unwrap()
            .upload_id()
            .unwrap()
            .to_owned()
    };
    let id = begin().await;
    let part = |number| {
        client
            .upload_part()
            .bucket("films")
            .key("k")
            .upload_id(&id)
            .part_number(number)
            .body(ByteStream::from_static(b"small"))
    };
    let etag = part(1).send().await.unwrap().e_tag().unwrap().to_owned();
    part(2).send().await.unwrap();
    let named = |pairs: &[(i32, &str)]| {
        let parts = pairs
            .iter()
            .map(|(n, e)| CompletedPart::builder().part_number(*n).e_tag(*e).build());
        CompletedMultipartUpload::builder()
            .set_parts(Some(parts.collect()))
            .build()
    };
    let complete = |parts| {
        client
            .complete_multipart_upload()
            .bucket("films")
            .key("k")
            .upload_id(&id)
            .multipart_upload(parts)
    };
    assert_eq!(
        refused(complete(named(&[(1, &etag), (2, &etag)])).send().await),
        ("EntityTooSmall".into(), 400)
    );
    assert_eq!(
        refused(complete(named(&[(2, &etag), (1, &etag)])).send().await),
        ("InvalidPartOrder".into(), 400)
    );
    assert_eq!(
        refused(complete(named(&[(1, "\"0\"")])).send().await),
        ("InvalidPart".into(), 400)
    );
    assert_eq!(
        refused(complete(named(&[(3, &etag)])).send().await),
        ("InvalidPart".into(), 400)
    );
    client
        .abort_multipart_upload()
        .bucket("films")
        .key("k")
        .upload_id(&id)
        .send()
        .await
        .unwrap();
    assert_eq!(refused(part(1).send().await), ("NoSuchUpload".into(), 404));
}

#[tokio::test]
async fn copies_keep_or_replace() {
    let (_server, client) = house().await;
    client
        .put_object()
        .bucket("films")
        .key("a b+c")
        .metadata("x", "1")
        .body(ByteStream::from_static(b"abc"))
        .send()
        .await
        .unwrap();
    let copy = |to: &str| {
        client
            .copy_object()
            .bucket("films")
            .key(to)
            .copy_source("films/a%20b%2Bc")
    };
    copy("kept").send().await.unwrap();
    let head = client
        .head_object()
        .bucket("films")
        .key("kept")
        .send()
        .await
        .unwrap();
    assert_eq!(
        head.metadata().unwrap().get("x").map(String::as_str),
        Some("1")
    );
    copy("new")
        .metadata_directive(MetadataDirective::Replace)
        .metadata("y", "2")
        .send()
        .await
        .unwrap();
    let head = client
        .head_object()
        .bucket("films")
        .key("new")
        .send()
        .await
        .unwrap();
    assert_eq!(head.metadata().unwrap().len(), 1);
    assert_eq!(
        refused(copy("a b+c").send().await),
        ("InvalidRequest".into(), 400)
    );
    assert_eq!(
        refused(copy("c").copy_source_if_match("\"x\"").send().await),
        ("PreconditionFailed".into(), 412)
    );
    assert_eq!(
        refused(
            client
                .copy_object()
                .bucket("films")
                .key("d")
                .copy_source("films/none")
                .send()
                .await
        ),
        ("NoSuchKey".into(), 404)
    );
    let id = client
        .create_multipart_upload()
        .bucket("films")
        .key("e")
        .send()
        .await
        .unwrap()
        .upload_id()
        .unwrap()
        .to_owned();
    let part = client
        .upload_part_copy()
        .bucket("films")
        .key("e")
        .upload_id(&id)
        .part_number(1)
        .copy_source("films/kept")
        .copy_source_range("bytes=1-2");
    let etag = part
        .send()
        .await
        .unwrap()
        .copy_part_result()
        .unwrap()
        .e_tag()
        .unwrap()
        .to_owned();
    let named = CompletedMultipartUpload::builder()
        .parts(CompletedPart::builder().part_number(1).e_tag(etag).build())
        .build();
    client
        .complete_multipart_upload()
        .bucket("films")
        .key("e")
        .upload_id(&id)
        .multipart_upload(named)
        .send()
        .await
        .unwrap();
    assert_eq!(body(&client, "e").await, "bc");
}

#[tokio::test]
async fn versions_and_delete_markers() {
    let (_server, client) = house().await;
    let on = VersioningConfiguration::builder()
        .status(BucketVersioningStatus::Enabled)
        .build();
    client
        .put_bucket_versioning()
        .bucket("films")
        .versioning_configuration(on)
        .send()
        .await
        .unwrap();
    put(&client, "k", "one").await;
    put(&client, "k", "two").await;
    let gone = client
        .delete_object()
        .bucket("films")
        .key("k")
        .send()
        .await
        .unwrap();
    assert_eq!(gone.delete_marker(), Some(true));
    assert_eq!(
        refused(client.get_object().bucket("films").key("k").send().await),
        ("NoSuchKey".into(), 404)
    );
    let listed = client
        .list_object_versions()
        .bucket("films")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (listed.versions().len(), listed.delete_markers().len()),
        (2, 1)
    );
    let marker = gone.version_id().unwrap();
    let of_marker = client
        .get_object()
        .bucket("films")
        .key("k")
        .version_id(marker);
    assert_eq!(
        refused(of_marker.send().await),
        ("MethodNotAllowed".into(), 405)
    );
    client
        .delete_object()
        .bucket("films")
        .key("k")
        .version_id(marker)
        .send()
        .await
        .unwrap();
    assert_eq!(body(&client, "k").await, "two");
    let oldest = listed.versions()[1].version_id().unwrap();
    let old = client
        .get_object()
        .bucket("films")
        .key("k")
        .version_id(oldest)
        .send()
        .await
        .unwrap();
    assert_eq!(old.body.collect().await.unwrap().into_bytes(), "one");
    assert_eq!(
        refused(
            client
                .get_object()
                .bucket("films")
                .key("k")
                .version_id("junk")
                .send()
                .await
        ),
        ("InvalidArgument".into(), 400)
    );
}

#[tokio::test]
async fn many_are_deleted_at_once() {
    let (_server, client) = house().await;
    for n in 0..40 {
        put(&client, &format!("k{n}"), "x").await;
    }
    let named = |range: std::ops::Range<usize>| {
        let objects = range.map(|n| {
            ObjectIdentifier::builder()
                .key(format!("k{n}"))
                .build()
                .unwrap()
        });
        Delete::builder()
            .set_objects(Some(objects.collect()))
            .build()
            .unwrap()
    };
    let done = client
        .delete_objects()
        .bucket("films")
        .delete(named(0..41))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (done.deleted().len(), done.errors().len()),
        (41, 0),
        "deleting nothing is a success"
    );
    assert_eq!(
        refused(
            client
                .delete_objects()
                .bucket("films")
                .delete(named(0..1001))
                .send()
                .await
        ),
        ("MalformedXML".into(), 400)
    );
    assert!(
        client
            .list_objects_v2()
            .bucket("films")
            .send()
            .await
            .unwrap()
            .contents()
            .is_empty()
    );
}

#[tokio::test]
async fn a_policy_opens_a_bucket_to_a_plain_request() {
    let (server, client) = house().await;
    let put = client.put_object().bucket("films").key("k");
    put.body(ByteStream::from_static(b"hello"))
        .send()
        .await
        .unwrap();
    let address = format!("{}/films/k", server.endpoint);
    assert_eq!(reqwest::get(&address).await.unwrap().status(), 403);
    let policy = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*",
        "Action": "s3:GetObject", "Resource": "arn:aws:s3:::films/*"}]}"#;
    let set = client.put_bucket_policy().bucket("films").policy(policy);
    set.send().await.unwrap();
    let read = reqwest::get(&address).await.unwrap();
    assert_eq!(read.text().await.unwrap(), "hello");
    let kept = client.get_bucket_policy().bucket("films").send().await;
    assert_eq!(kept.unwrap().policy(), Some(policy));
    let status = client.get_bucket_policy_status().bucket("films").send();
    let status = status.await.unwrap();
    assert_eq!(status.policy_status().unwrap().is_public(), Some(true));
    let gone = client.delete_bucket_policy().bucket("films").send().await;
    gone.unwrap();
    assert_eq!(reqwest::get(&address).await.unwrap().status(), 403);
}

#[tokio::test]
async fn presigned_urls_open_what_they_name() {
    let (_server, client) = house().await;
    let week = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let put = client
        .put_object()
        .bucket("films")
        .key("k")
        .presigned(week.clone())
        .await
        .unwrap();
    let http = reqwest::Client::new();
    let sent = http.put(put.uri()).body("hello").send().await.unwrap();
    assert_eq!(sent.status(), 200, "{}", sent.text().await.unwrap());
    let get = client
        .get_object()
        .bucket("films")
        .key("k")
        .presigned(week)
        .await
        .unwrap();
    let read = http.get(get.uri()).send().await.unwrap();
    assert_eq!(read.text().await.unwrap(), "hello");
    let altered = http
        .get(get.uri().replace("/k?", "/other?"))
        .send()
        .await
        .unwrap();
    assert_eq!(altered.status(), 403);
    let smuggled = http
        .put(put.uri())
        .header("x-amz-copy-source", "/films/k")
        .send()
        .await
        .unwrap();
    assert_eq!(
        smuggled.status(),
        403,
        "an unsigned header of the protocol is refused"
    );
}

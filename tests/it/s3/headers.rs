//! Headers that are not what they should be, under a valid signature.

use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::{Delete, ObjectIdentifier, Tag, Tagging};

use super::sdk::{house, put, refused};

#[tokio::test]
async fn a_range_or_date_that_is_none_is_ignored() {
    let (_server, client) = house().await;
    put(&client, "a", "0123456789").await;
    let get = || client.get_object().bucket("films").key("a");
    for range in ["bytes=5-2", "chapters=1", "bytes="] {
        let answer = get().range(range).send().await.unwrap();
        assert_eq!(answer.content_range(), None, "{range}");
        assert_eq!(
            answer.body.collect().await.unwrap().into_bytes(),
            "0123456789",
            "{range}"
        );
    }
    let some = get().range("bytes=2-3").send().await.unwrap();
    assert_eq!(some.body.collect().await.unwrap().into_bytes(), "23");
    let far = get().range("bytes=8-99999999999999999999").send();
    assert_eq!(far.await.unwrap().content_range(), Some("bytes 8-9/10"));
    // The conditions beside it still count.
    let refusal = refused(get().range("bytes=5-2").if_match("\"other\"").send().await);
    assert_eq!(refusal, ("PreconditionFailed".into(), 412));

    let week = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let presigned = get().presigned(week).await.unwrap();
    let http = reqwest::Client::new();
    let ask = |name: &'static str, value: &'static str| {
        http.get(presigned.uri()).header(name, value).send()
    };
    for (name, value) in [("range", "bytes=5-2"), ("if-modified-since", "yesterday")] {
        let answer = ask(name, value).await.unwrap();
        assert_eq!(answer.status(), 200, "{name}");
        assert_eq!(answer.text().await.unwrap(), "0123456789", "{name}");
    }
    // A header that s3s does not see opens no door.
    let (head, signature) = presigned.uri().split_once("X-Amz-Signature=").unwrap();
    let first = if signature.starts_with('0') { "1" } else { "0" };
    let forged = format!("{head}X-Amz-Signature={first}{}", &signature[1..]);
    let forged = http.get(forged).header("range", "bytes=5-2").send();
    assert_eq!(forged.await.unwrap().status(), 403);
    let unsigned = presigned.uri().split('?').next().unwrap();
    let unsigned = http.get(unsigned).header("range", "bytes=5-2").send();
    assert_eq!(unsigned.await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_document_that_does_not_fit_its_digest_changes_nothing() {
    let (_server, client) = house().await;
    put(&client, "a", "x").await;
    let tag = Tag::builder().key("a").value("b").build().unwrap();
    let tags = Tagging::builder().tag_set(tag).build().unwrap();
    let tagging = |md5: &'static str| {
        let ask = client
            .put_bucket_tagging()
            .bucket("films")
            .tagging(tags.clone());
        ask.customize()
            .mutate_request(move |request| {
                request.headers_mut().insert("content-md5", md5);
            })
            .send()
    };
    let wrong = tagging("1B2M2Y8AsgTpgAmY7PhCfg==").await;
    assert_eq!(refused(wrong), ("BadDigest".into(), 400));
    let none = tagging("nonsense").await;
    assert_eq!(refused(none), ("InvalidDigest".into(), 400));
    let tags = client.get_bucket_tagging().bucket("films").send().await;
    assert_eq!(refused(tags).0, "NoSuchTagSet");

    let object = ObjectIdentifier::builder().key("a").build().unwrap();
    let delete = Delete::builder().objects(object).build().unwrap();
    let ask = client.delete_objects().bucket("films").delete(delete);
    let wrong = ask
        .customize()
        .mutate_request(|request| {
            request.headers_mut().remove("x-amz-checksum-crc32");
            request
                .headers_mut()
                .insert("x-amz-checksum-crc32c", "AAAAAA==");
        })
        .send()
        .await;
    assert_eq!(refused(wrong), ("BadDigest".into(), 400));
    client
        .head_object()
        .bucket("films")
        .key("a")
        .send()
        .await
        .unwrap();
}

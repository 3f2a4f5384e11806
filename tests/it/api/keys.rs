//! Access keys: the same rights at every door.

use nebula_api::{AccessKey, CreateKey, Grant, Page, PatchKey, Quota, Role, routes};
use nebula_tests::Appliance;
use reqwest::{Method, StatusCode};

use super::{bucket, get_as, key, problem, put, request_as};

#[tokio::test]
async fn a_right_on_one_bucket_holds_at_every_door_and_nowhere_else() {
    let house = Appliance::start().await;
    bucket(&house, "films").await;
    bucket(&house, "other").await;
    put(&house, "other", "x", b"x").await;
    let writer = key(&house, "films", Role::Write).await;
    let s3 = house.s3_as(&writer.key.id, &writer.secret);
    let stored = s3.put_object().bucket("films").key("a.txt");
    stored.body(b"words".to_vec().into()).send().await.unwrap();
    let refused = s3.put_object().bucket("other").key("a.txt");
    let refused = refused.body(b"words".to_vec().into()).send().await;
    let refused = refused.unwrap_err().into_service_error();
    assert_eq!(refused.meta().code(), Some("AccessDenied"));

    let file = get_as(&house, &writer, &routes::file("films", "a.txt")).await;
    assert_eq!(file.text().await.unwrap(), "words");
    let closed = get_as(&house, &writer, &routes::file("other", "x")).await;
    assert_eq!(closed.status(), StatusCode::FORBIDDEN);

    let tus = |bucket: &str| {
        let metadata = format!("bucket {},filename {}", base64(bucket), base64("t.bin"));
        request_as(&house, &writer, Method::POST, routes::TUS)
            .header("tus-resumable", "1.0.0")
            .header("upload-length", "4")
            .header("upload-metadata", metadata)
    };
    let begun = tus("films").send().await.unwrap();
    assert_eq!(begun.status(), StatusCode::CREATED);
    let closed = tus("other").send().await.unwrap();
    assert_eq!(closed.status(), StatusCode::FORBIDDEN);

    let api = get_as(&house, &writer, &routes::object("films", "a.txt")).await;
    assert_eq!(api.status(), StatusCode::OK);
    let removed = request_as(
        &house,
        &writer,
        Method::DELETE,
        &routes::object("films", "a.txt"),
    );
    assert_eq!(
        removed.send().await.unwrap().status(),
        StatusCode::NO_CONTENT
    );
    let kept = request_as(
        &house,
        &writer,
        Method::DELETE,
        &routes::object("other", "x"),
    );
    assert_eq!(kept.send().await.unwrap().status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_secret_is_shown_once_and_a_revoked_key_opens_nothing() {
    let house = Appliance::start().await;
    bucket(&house, "films").await;
    let reader = key(&house, "films", Role::Read).await;
    assert_eq!(get_as(&house, &reader, routes::BUCKETS).await.status(), 200);
    let listed = house.get(routes::KEYS).send().await.unwrap();
    let text = listed.text().await.unwrap();
    assert!(!text.contains(&reader.secret) && !text.contains(&house.key().secret_key));
    let page: Page<AccessKey> = serde_json::from_str(&text).unwrap();
    let shown = page
        .items
        .iter()
        .find(|key| key.id == reader.key.id)
        .unwrap();
    assert_eq!(shown.grants, reader.key.grants);
    assert!(page.items.iter().any(|key| key.root));

    let revoke = |id: &str| house.request(Method::DELETE, &routes::key(id));
    let gone = revoke(&reader.key.id).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    assert_eq!(get_as(&house, &reader, routes::BUCKETS).await.status(), 401);
    let again = revoke(&reader.key.id).send().await.unwrap();
    assert_eq!(problem(again).await.code, "key_not_found");
    let root = revoke(&house.key().access_key).send().await.unwrap();
    assert!(root.status().is_client_error(), "{}", root.status());
    assert_eq!(
        house.get(routes::BUCKETS).send().await.unwrap().status(),
        200
    );
}

#[tokio::test]
async fn nobody_gives_away_more_than_they_have() {
    let house = Appliance::start().await;
    let admin = key(&house, "films", Role::Admin).await;
    let body = CreateKey {
        name: "more".into(),
        grants: vec![Grant {
            bucket: "*".into(),
            role: Role::Admin,
            prefixes: Vec::new(),
        }],
        ..CreateKey::default()
    };
    let wanted = request_as(&house, &admin, Method::POST, routes::KEYS).json(&body);
    assert_eq!(wanted.send().await.unwrap().status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_key_is_switched_off_and_on_again() {
    let house = Appliance::start().await;
    bucket(&house, "films").await;
    let reader = key(&house, "films", Role::Read).await;
    let client = house.client();
    let switch = async |disabled| {
        let patch = PatchKey {
            disabled: Some(disabled),
            ..PatchKey::default()
        };
        client.patch_key(&reader.key.id, &patch).await.unwrap()
    };
    assert!(switch(true).await.disabled);
    assert_eq!(get_as(&house, &reader, routes::BUCKETS).await.status(), 401);
    assert!(!switch(false).await.disabled);
    assert_eq!(get_as(&house, &reader, routes::BUCKETS).await.status(), 200);
}

#[tokio::test]
async fn a_quota_holds_at_every_door_that_writes() {
    let house = Appliance::start().await;
    bucket(&house, "films").await;
    let writer = key(&house, "films", Role::Write).await;
    let client = house.client();
    let patch = PatchKey {
        quota: Some(Quota {
            size_bytes: Some(100_000),
            objects: None,
        }),
        ..PatchKey::default()
    };
    client.patch_key(&writer.key.id, &patch).await.unwrap();
    let s3 = house.s3_as(&writer.key.id, &writer.secret);
    let store = async |name: &str, size: usize| {
        let put = s3.put_object().bucket("films").key(name);
        let stored = put.body(vec![7; size].into()).send().await;
        stored.map_err(|e| e.into_service_error().meta().code().map(str::to_owned))
    };
    store("a", 60_000).await.unwrap();
    let refused = store("b", 40_001).await.unwrap_err();
    assert_eq!(refused.as_deref(), Some("QuotaExceeded"));
    let metadata = format!("bucket {},filename {}", base64("films"), base64("c.bin"));
    let begun = request_as(&house, &writer, Method::POST, routes::TUS)
        .header("tus-resumable", "1.0.0")
        .header("upload-length", "40001")
        .header("upload-metadata", metadata);
    let begun = begun.send().await.unwrap();
    assert_eq!(begun.status(), StatusCode::INSUFFICIENT_STORAGE);
    store("b", 40_000).await.unwrap();
    let keys = client.all_keys().await.unwrap();
    let shown = keys.iter().find(|key| key.id == writer.key.id).unwrap();
    assert_eq!((shown.usage.size_bytes, shown.usage.objects), (100_000, 2));
    let patch = nebula_api::PatchBucket {
        quota: Some(Quota {
            size_bytes: None,
            objects: Some(2),
        }),
        ..Default::default()
    };
    let bucket = client.patch_bucket("films", &patch).await.unwrap();
    assert_eq!((bucket.objects, bucket.quota.objects), (2, Some(2)));
    let root = house.s3();
    let third = root.put_object().bucket("films").key("d").send().await;
    let third = third.unwrap_err().into_service_error();
    assert_eq!(third.meta().code(), Some("QuotaExceeded"));
}

#[tokio::test]
async fn what_is_locked_is_refused_and_what_was_hidden_comes_back() {
    let house = Appliance::start().await;
    let client = house.client();
    let records = nebula_api::CreateBucket {
        name: "records".into(),
        object_lock: true,
        ..Default::default()
    };
    client.create_bucket(&records).await.unwrap();
    put(&house, "records", "a", b"first").await;
    let object = client.object("records", "a", None).await.unwrap().unwrap();
    let version = object.object.version.unwrap();
    let s3 = house.s3();
    let hold = aws_sdk_s3::types::ObjectLockLegalHold::builder()
        .status(aws_sdk_s3::types::ObjectLockLegalHoldStatus::On)
        .build();
    s3.put_object_legal_hold()
        .bucket("records")
        .key("a")
        .legal_hold(hold)
        .send()
        .await
        .unwrap();
    client.delete_object("records", "a", None).await.unwrap();
    let gone = routes::object("records", "a") + "?version=" + &version;
    let gone = house.request(Method::DELETE, &gone).send().await.unwrap();
    let refused = problem(gone).await;
    assert_eq!(
        (refused.status, refused.code.as_str()),
        (403, "object_locked")
    );
    let back = client.restore_object("records", "a", None).await.unwrap();
    assert_eq!(back.version.as_deref(), Some(version.as_str()));
    assert!(client.restore_object("records", "a", None).await.is_err());
    put(&house, "records", "a", b"second").await;
    let old = client.restore_object("records", "a", Some(&version)).await;
    assert_eq!(old.unwrap().size_bytes, 5);
    let text = house
        .get(&routes::file("records", "a"))
        .send()
        .await
        .unwrap();
    assert_eq!(text.text().await.unwrap(), "first");
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

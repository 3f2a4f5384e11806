//! Access keys: the same rights at every door.

use nebula_api::{AccessKey, CreateKey, Grant, Page, Role, routes};
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
        }],
        ..CreateKey::default()
    };
    let wanted = request_as(&house, &admin, Method::POST, routes::KEYS).json(&body);
    assert_eq!(wanted.send().await.unwrap().status(), StatusCode::FORBIDDEN);
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

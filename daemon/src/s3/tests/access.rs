//! Policies, lists, blocks and ownership, as requests meet them.

use http::{Method, StatusCode};
use serde_json::json;

use super::{Answer, House, Key};
use crate::identity::{Action, Caller, Resource, Role};

const OK: StatusCode = StatusCode::OK;
const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;

/// A house where `owner` made the bucket `films` with one object `a`.
pub(super) async fn films() -> (House, Key, Key) {
    let house = House::open().await;
    let owner = house.key("owner", Role::Own).await;
    let other = house.key("other", Role::Own).await;
    assert_eq!(house.put(Some(&owner), "/films", &[]).await.status, OK);
    assert_eq!(house.put(Some(&owner), "/films/a", &[]).await.status, OK);
    (house, owner, other)
}

pub(super) async fn set_policy(house: &House, key: &Key, statements: serde_json::Value) -> Answer {
    let policy = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    house
        .ask(Some(key), Method::PUT, "/films?policy", &[], policy)
        .await
}

pub(super) fn statement(effect: &str, action: &str, resource: &str) -> serde_json::Value {
    json!({"Effect": effect, "Principal": {"AWS": "*"}, "Action": action,
        "Resource": format!("arn:aws:s3:::{resource}")})
}

#[tokio::test]
async fn a_policy_opens_what_it_names_to_everybody_and_nothing_else() {
    let (house, owner, other) = films().await;
    for key in [None, Some(&other)] {
        assert_eq!(house.get(key, "/films/a").await.code(), "AccessDenied");
    }
    let set = set_policy(
        &house,
        &owner,
        statement("Allow", "s3:GetObject", "films/*"),
    )
    .await;
    assert_eq!(set.status, StatusCode::NO_CONTENT, "{}", set.text);
    for key in [None, Some(&other)] {
        let read = house.get(key, "/films/a").await;
        assert_eq!((read.status, read.text.as_str()), (OK, "hello"));
        assert_eq!(house.get(key, "/films").await.status, FORBIDDEN);
        assert_eq!(house.put(key, "/films/b", &[]).await.status, FORBIDDEN);
        assert_eq!(house.get(key, "/films?policy").await.status, FORBIDDEN);
    }
    let head = house.ask(None, Method::HEAD, "/films/a", &[], "").await;
    assert_eq!(head.status, OK);
    assert_eq!(house.get(None, "/gone/a").await.code(), "NoSuchBucket");
    assert_eq!(house.get(None, "/").await.status, FORBIDDEN);
    let gone = house
        .ask(Some(&owner), Method::DELETE, "/films?policy", &[], "")
        .await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert_eq!(house.get(None, "/films/a").await.status, FORBIDDEN);
    assert_eq!(
        house.get(Some(&owner), "/films?policy").await.code(),
        "NoSuchBucketPolicy"
    );
}

#[tokio::test]
async fn a_denial_binds_every_key_but_root_which_can_always_lift_it() {
    let (house, owner, _) = films().await;
    let admin = house.key("admin", Role::Admin).await;
    let set = set_policy(&house, &owner, statement("Deny", "s3:*", "*")).await;
    assert_eq!(set.status, StatusCode::NO_CONTENT, "{}", set.text);
    for key in [&owner, &admin] {
        let refused = house.get(Some(key), "/films/a").await;
        assert_eq!(refused.status, FORBIDDEN);
        assert!(refused.text.contains("policy"), "{}", refused.text);
        let stuck = house
            .ask(Some(key), Method::DELETE, "/films?policy", &[], "")
            .await;
        assert_eq!(stuck.status, FORBIDDEN);
    }
    let root = house.root.clone();
    assert_eq!(house.get(Some(&root), "/films/a").await.status, OK);
    let lifted = house
        .ask(Some(&root), Method::DELETE, "/films?policy", &[], "")
        .await;
    assert_eq!(lifted.status, StatusCode::NO_CONTENT);
    assert_eq!(house.get(Some(&owner), "/films/a").await.status, OK);
}

#[tokio::test]
async fn conditions_look_at_the_request_and_at_the_object() {
    let (house, owner, other) = films().await;
    let tagged = house
        .ask(
            Some(&owner),
            Method::PUT,
            "/films/tagged",
            &[("x-amz-tagging", "team=red")],
            "x",
        )
        .await;
    assert_eq!(tagged.status, OK);
    let mut by_tag = statement("Allow", "s3:GetObject", "films/*");
    by_tag["Condition"] = json!({"StringEquals": {"s3:ExistingObjectTag/team": "red"}});
    let mut by_prefix = statement("Allow", "s3:ListBucket", "films");
    by_prefix["Condition"] = json!({"StringLike": {"s3:prefix": "public/*"}});
    let mut no_public = statement("Deny", "s3:PutObject", "films/*");
    no_public["Condition"] = json!({"StringLike": {"s3:x-amz-acl": "public*"}});
    let set = set_policy(&house, &owner, json!([by_tag, by_prefix, no_public])).await;
    assert_eq!(set.status, StatusCode::NO_CONTENT, "{}", set.text);
    assert_eq!(house.get(Some(&other), "/films/tagged").await.status, OK);
    assert_eq!(house.get(Some(&other), "/films/a").await.status, FORBIDDEN);
    assert_eq!(
        house
            .get(Some(&other), "/films?prefix=public%2F")
            .await
            .status,
        OK
    );
    assert_eq!(
        house.get(Some(&other), "/films?prefix=x").await.status,
        FORBIDDEN
    );
    // Who may list a prefix may be told that there is nothing; others may not.
    assert_eq!(
        house.get(Some(&other), "/films/public/x").await.code(),
        "NoSuchKey"
    );
    assert_eq!(
        house.get(Some(&other), "/films/x").await.code(),
        "AccessDenied"
    );
    let acl = [("x-amz-acl", "public-read")];
    assert_eq!(
        house.put(Some(&owner), "/films/b", &acl).await.status,
        FORBIDDEN
    );
    assert_eq!(house.put(Some(&owner), "/films/b", &[]).await.status, OK);
}

#[tokio::test]
async fn a_denied_tag_cannot_come_in_a_body() {
    let (house, owner, _) = films().await;
    let mut deny = statement("Deny", "s3:PutObjectTagging", "films/*");
    deny["Condition"] = json!({"StringEquals": {"s3:RequestObjectTag/team": "red"}});
    set_policy(&house, &owner, deny).await;
    let tag = |value: &str| {
        format!(
            "<Tagging><TagSet><Tag><Key>team</Key><Value>{value}</Value></Tag></TagSet></Tagging>"
        )
    };
    let put = |value| {
        house.ask(
            Some(&owner),
            Method::PUT,
            "/films/a?tagging",
            &[],
            tag(value),
        )
    };
    assert_eq!(put("red").await.status, FORBIDDEN);
    assert_eq!(put("blue").await.status, OK);
    let header = [("x-amz-tagging", "team=red")];
    assert_eq!(
        house.put(Some(&owner), "/films/b", &header).await.status,
        FORBIDDEN
    );
}

#[tokio::test]
async fn the_parts_of_an_upload_need_not_say_again_what_its_beginning_said() {
    let (house, owner, _) = films().await;
    let mut deny = statement("Deny", "s3:PutObject", "films/*");
    deny["Condition"] = json!({"Null": {"s3:x-amz-storage-class": "true"}});
    set_policy(&house, &owner, deny).await;
    let begin = |headers: &'static [(&'static str, &'static str)]| {
        house.ask(
            Some(&owner),
            Method::POST,
            "/films/parts?uploads",
            headers,
            "",
        )
    };
    assert_eq!(begin(&[]).await.status, FORBIDDEN);
    let begun = begin(&[("x-amz-storage-class", "STANDARD")]).await;
    assert_eq!(begun.status, OK, "{}", begun.text);
    let id = begun.text.split("<UploadId>").nth(1).unwrap();
    let id = id.split('<').next().unwrap();
    let uri = format!("/films/parts?partNumber=1&uploadId={id}");
    let part = house
        .ask(Some(&owner), Method::PUT, &uri, &[], "part")
        .await;
    assert_eq!(part.status, OK, "{}", part.text);
}

#[tokio::test]
async fn each_key_of_a_multi_delete_and_the_source_of_a_copy_are_decided() {
    let (house, owner, other) = films().await;
    let allow = json!({"Effect": "Allow", "Principal": {"AWS": other.id}, "Action": ["s3:DeleteObject", "s3:GetObject"],
        "Resource": "arn:aws:s3:::films/tmp/*"});
    set_policy(&house, &owner, allow).await;
    house.put(Some(&owner), "/films/tmp/x", &[]).await;
    house.put(Some(&other), "/mine", &[]).await;
    let copy = |from: &'static str| {
        let other = other.clone();
        let house = &house;
        async move {
            house
                .ask(
                    Some(&other),
                    Method::PUT,
                    "/mine/copy",
                    &[("x-amz-copy-source", from)],
                    "",
                )
                .await
        }
    };
    assert_eq!(copy("/films/tmp/x").await.status, OK);
    assert_eq!(copy("/films/a").await.status, FORBIDDEN);
    let body = "<Delete><Object><Key>a</Key></Object><Object><Key>tmp/x</Key></Object></Delete>";
    let deleted = house
        .ask(Some(&other), Method::POST, "/films?delete", &[], body)
        .await;
    assert_eq!(deleted.status, OK, "{}", deleted.text);
    assert!(
        deleted.text.contains("<Deleted><Key>tmp/x</Key>"),
        "{}",
        deleted.text
    );
    assert!(
        deleted.text.contains("<Code>AccessDenied</Code>"),
        "{}",
        deleted.text
    );
    assert_eq!(house.get(Some(&owner), "/films/a").await.status, OK);
    let stranger = house
        .ask(None, Method::POST, "/films?delete", &[], body)
        .await;
    assert_ne!(stranger.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(house.get(Some(&owner), "/films/a").await.status, OK);
}

#[tokio::test]
async fn a_policy_that_is_not_understood_is_refused_by_name() {
    let (house, owner, _) = films().await;
    for (statement, word) in [
        (statement("Allow", "s3:Fly", "films/*"), "s3:Fly"),
        (statement("Allow", "s3:GetObject", "other/*"), "other"),
        (json!({"Effect": "Allow"}), "Principal"),
    ] {
        let refused = set_policy(&house, &owner, statement).await;
        assert_eq!(refused.code(), "MalformedPolicy", "{}", refused.text);
        assert!(refused.text.contains(word), "{}", refused.text);
    }
    let huge = format!("{{\"Id\": \"{}\"}}", "x".repeat(21 * 1024));
    let refused = house
        .ask(Some(&owner), Method::PUT, "/films?policy", &[], huge)
        .await;
    assert_eq!(refused.code(), "MalformedPolicy");
}

#[tokio::test]
async fn the_block_refuses_and_ignores_what_is_public() {
    let (house, owner, _) = films().await;
    let block = |names: &'static [&'static str]| {
        let switches: String = names
            .iter()
            .map(|name| format!("<{name}>true</{name}>"))
            .collect();
        let body =
            format!("<PublicAccessBlockConfiguration>{switches}</PublicAccessBlockConfiguration>");
        house.ask(
            Some(&owner),
            Method::PUT,
            "/films?publicAccessBlock",
            &[],
            body,
        )
    };
    let shown = house.get(Some(&owner), "/films?publicAccessBlock").await;
    assert_eq!(shown.code(), "NoSuchPublicAccessBlockConfiguration");
    let public = statement("Allow", "s3:GetObject", "films/*");
    set_policy(&house, &owner, public.clone()).await;
    let acl = [("x-amz-acl", "public-read")];
    assert_eq!(house.put(Some(&owner), "/films?acl", &acl).await.status, OK);
    assert_eq!(house.get(None, "/films").await.status, OK);

    assert_eq!(
        block(&["RestrictPublicBuckets", "IgnorePublicAcls"])
            .await
            .status,
        OK
    );
    assert_eq!(house.get(None, "/films/a").await.status, FORBIDDEN);
    assert_eq!(house.get(None, "/films").await.status, FORBIDDEN);
    assert_eq!(house.get(Some(&owner), "/films/a").await.status, OK);

    assert_eq!(
        block(&["BlockPublicPolicy", "BlockPublicAcls"])
            .await
            .status,
        OK
    );
    assert_eq!(set_policy(&house, &owner, public).await.status, FORBIDDEN);
    assert_eq!(
        house.put(Some(&owner), "/films?acl", &acl).await.status,
        FORBIDDEN
    );
    assert_eq!(
        house.put(Some(&owner), "/films/b", &acl).await.status,
        FORBIDDEN
    );
    let shown = house.get(Some(&owner), "/films?publicAccessBlock").await;
    assert!(
        shown
            .text
            .contains("<BlockPublicAcls>true</BlockPublicAcls>"),
        "{}",
        shown.text
    );
    assert!(
        shown
            .text
            .contains("<IgnorePublicAcls>false</IgnorePublicAcls>"),
        "{}",
        shown.text
    );
    // What was open before is not closed by refusing more of it.
    assert_eq!(house.get(None, "/films/a").await.status, OK);
    let gone = house
        .ask(
            Some(&owner),
            Method::DELETE,
            "/films?publicAccessBlock",
            &[],
            "",
        )
        .await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn root_needs_no_rules_and_strangers_no_reason() {
    let (house, owner, _) = films().await;
    let root = house.root.clone();
    house.put(Some(&root), "/roots", &[]).await;
    house.put(Some(&root), "/roots/a", &[]).await;
    assert_eq!(house.get(Some(&owner), "/roots/a").await.status, FORBIDDEN);
    let list = house.get(Some(&owner), "/").await;
    assert!(
        list.text.contains("films") && !list.text.contains("roots"),
        "{}",
        list.text
    );
    let unsigned = house.get(None, "/films/a").await;
    assert!(
        unsigned.text.contains("sign the request"),
        "{}",
        unsigned.text
    );
    assert!(unsigned.headers.contains_key("x-amz-request-id"));
    assert_eq!(house.store.buckets().await.unwrap().len(), 2);
}

#[tokio::test]
async fn other_doors_ask_with_the_same_rules() {
    let (house, owner, _) = films().await;
    let admin = house.key("admin", Role::Admin).await;
    let rules = json!([
        statement("Deny", "s3:GetObject", "films/*"),
        statement("Allow", "s3:ListBucket", "films"),
    ]);
    assert_eq!(
        set_policy(&house, &owner, rules).await.status,
        StatusCode::NO_CONTENT
    );
    let (films, key) = ("films".parse().unwrap(), "a".parse().unwrap());
    let (bucket, object) = (Resource::Bucket(&films), Resource::Object(&films, &key));
    let may = |caller: Caller, action, resource| {
        let identity = house.identity.clone();
        async move {
            let decision = identity.decide(&caller, action, &resource).await.unwrap();
            decision.allow
        }
    };
    let of = |key: &Key| {
        let (identity, key) = (house.identity.clone(), key.clone());
        async move { identity.basic(&key.id, &key.secret).await.unwrap().unwrap() }
    };
    let (admin, owner, root) = (of(&admin).await, of(&owner).await, of(&house.root).await);
    assert!(!may(admin.clone(), Action::ReadObject, object).await);
    assert!(may(admin, Action::WriteObject, object).await);
    assert!(!may(owner.clone(), Action::ReadObject, object).await);
    assert!(may(owner, Action::ConfigureBucket, bucket).await);
    assert!(may(root, Action::ReadObject, object).await);
    assert!(may(Caller::anonymous(), Action::ListObjects, bucket).await);
    assert!(!may(Caller::anonymous(), Action::WriteObject, object).await);
}

#[tokio::test]
async fn nothing_is_done_for_somebody_who_signs_nothing() {
    let (house, owner, _) = films().await;
    let bucket = [
        "",
        "acl",
        "cors",
        "delete",
        "encryption",
        "lifecycle",
        "location",
        "notification",
        "object-lock",
        "ownershipControls",
        "policy",
        "policyStatus",
        "publicAccessBlock",
        "tagging",
        "uploads",
        "versioning",
        "versions",
        "website",
        "list-type=2",
    ];
    let object = [
        "",
        "acl",
        "attributes",
        "legal-hold",
        "retention",
        "tagging",
        "uploads",
        "uploadId=1",
        "partNumber=1&uploadId=1",
        "versionId=null",
        "restore",
        "select&select-type=2",
    ];
    let methods = [
        Method::GET,
        Method::HEAD,
        Method::PUT,
        Method::POST,
        Method::DELETE,
    ];
    for method in methods {
        let uris = bucket.iter().map(|query| format!("/films?{query}"));
        let uris = uris.chain(object.iter().map(|query| format!("/films/a?{query}")));
        for uri in uris.chain(["/".to_owned(), "/new".to_owned()]) {
            let answer = house.ask(None, method.clone(), &uri, &[], "").await;
            assert!(
                answer.status.is_client_error() || answer.status == StatusCode::NOT_IMPLEMENTED,
                "{method} {uri}: {}",
                answer.status
            );
        }
    }
    assert_eq!(house.get(Some(&owner), "/films/a").await.text, "hello");
    assert_eq!(house.store.buckets().await.unwrap().len(), 1);
}

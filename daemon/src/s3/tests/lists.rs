//! Access control lists and object ownership, as requests meet them.

use http::{Method, StatusCode};

use super::access::{films, set_policy, statement};

const OK: StatusCode = StatusCode::OK;
const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;

#[tokio::test]
async fn lists_open_buckets_and_objects_as_their_names_say() {
    let (house, owner, other) = films().await;
    let acl = |name: &'static str| [("x-amz-acl", name)];
    assert_eq!(
        house
            .put(Some(&owner), "/films/public", &acl("public-read"))
            .await
            .status,
        OK
    );
    assert_eq!(house.get(None, "/films/public").await.text, "hello");
    assert_eq!(house.get(None, "/films").await.status, FORBIDDEN);
    house
        .put(Some(&owner), "/films/known", &acl("authenticated-read"))
        .await;
    assert_eq!(house.get(None, "/films/known").await.status, FORBIDDEN);
    assert_eq!(house.get(Some(&other), "/films/known").await.status, OK);
    // A new version of the object is private again.
    assert_eq!(
        house.put(Some(&owner), "/films/public", &[]).await.status,
        OK
    );
    assert_eq!(house.get(None, "/films/public").await.status, FORBIDDEN);
    house
        .ask(
            Some(&owner),
            Method::PUT,
            "/films/public?acl",
            &acl("public-read"),
            "",
        )
        .await;
    assert_eq!(house.get(None, "/films/public").await.status, OK);

    assert_eq!(
        house
            .put(Some(&owner), "/films?acl", &acl("public-read-write"))
            .await
            .status,
        OK
    );
    assert_eq!(house.put(None, "/films/stranger", &[]).await.status, OK);
    assert_eq!(
        house.put(Some(&other), "/films/theirs", &[]).await.status,
        OK
    );
    assert_eq!(house.get(Some(&other), "/films/theirs").await.status, OK);
    assert_eq!(house.get(Some(&other), "/films/a").await.status, FORBIDDEN);
    let list = house.get(Some(&owner), "/films?acl").await;
    assert!(
        list.text.contains("AllUsers") && list.text.contains("WRITE"),
        "{}",
        list.text
    );
    assert!(
        list.text.contains("<DisplayName>owner</DisplayName>"),
        "{}",
        list.text
    );
    assert_eq!(
        house
            .put(Some(&owner), "/films?acl", &acl("nonsense"))
            .await
            .code(),
        "InvalidArgument"
    );
    assert_eq!(
        house.put(Some(&owner), "/films?acl", &[]).await.code(),
        "MissingSecurityHeader"
    );
}

#[tokio::test]
async fn a_grant_to_another_key_lets_it_in_and_no_further() {
    let (house, owner, other) = films().await;
    let id = format!("id={}", other.id);
    let granted = house
        .put(Some(&owner), "/films?acl", &[("x-amz-grant-read-acp", &id)])
        .await;
    assert_eq!(granted.status, OK, "{}", granted.text);
    assert_eq!(house.get(Some(&other), "/films?acl").await.status, OK);
    assert_eq!(house.get(Some(&other), "/films").await.status, FORBIDDEN);
    let acl = [("x-amz-acl", "private")];
    assert_eq!(
        house.put(Some(&other), "/films?acl", &acl).await.status,
        FORBIDDEN
    );
    // The owner granted itself nothing, and can still mend it.
    assert_eq!(house.put(Some(&owner), "/films?acl", &acl).await.status, OK);
    let nobody = [("x-amz-grant-read", "id=NEBNOBODYATALL")];
    assert_eq!(
        house.put(Some(&owner), "/films?acl", &nobody).await.code(),
        "InvalidArgument"
    );
}

#[tokio::test]
async fn a_bucket_made_again_must_be_the_same() {
    let (house, owner, other) = films().await;
    let public = [("x-amz-acl", "public-read")];
    assert_eq!(house.put(Some(&owner), "/films", &[]).await.status, OK);
    let changed = house.put(Some(&owner), "/films", &public).await;
    assert_eq!(changed.code(), "BucketAlreadyExists");
    assert_eq!(
        house.put(Some(&other), "/films", &[]).await.code(),
        "BucketAlreadyExists"
    );
    assert_eq!(house.get(None, "/films").await.status, FORBIDDEN);
    assert_eq!(house.put(Some(&owner), "/open", &public).await.status, OK);
    assert_eq!(house.put(Some(&owner), "/open", &public).await.status, OK);
    assert_eq!(house.get(None, "/open").await.status, OK);
}

#[tokio::test]
async fn a_bucket_that_enforces_its_owner_keeps_no_lists() {
    let (house, owner, other) = films().await;
    let body = "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>";
    let put = || {
        house.ask(
            Some(&owner),
            Method::PUT,
            "/films?ownershipControls",
            &[],
            body,
        )
    };
    let acl = |name: &'static str| [("x-amz-acl", name)];
    assert_eq!(
        house
            .get(Some(&owner), "/films?ownershipControls")
            .await
            .code(),
        "OwnershipControlsNotFoundError"
    );
    house
        .put(Some(&owner), "/films/public", &acl("public-read"))
        .await;
    house
        .put(Some(&owner), "/films?acl", &acl("public-read"))
        .await;
    assert_eq!(put().await.code(), "InvalidBucketAclWithObjectOwnership");
    house.put(Some(&owner), "/films?acl", &acl("private")).await;
    assert_eq!(put().await.status, OK);
    assert_eq!(house.get(None, "/films/public").await.status, FORBIDDEN);
    for uri in ["/films?acl", "/films/b", "/films/a?acl"] {
        let refused = house.put(Some(&owner), uri, &acl("private")).await;
        assert_eq!(refused.code(), "AccessControlListNotSupported", "{uri}");
    }
    set_policy(&house, &owner, statement("Allow", "s3:*", "films/*")).await;
    let full = acl("bucket-owner-full-control");
    assert_eq!(
        house.put(Some(&other), "/films/theirs", &full).await.status,
        OK
    );
    let list = house.get(Some(&other), "/films/theirs?acl").await;
    assert!(
        list.text.contains(&format!("<ID>{}</ID>", owner.id)),
        "{}",
        list.text
    );
}

//! Locks, lifecycle rules, conditional deletions and quotas, as requests meet them.

use http::{Method, StatusCode};

use super::{Answer, House, Key};
use crate::identity::Role;
use crate::store::Quota;

const OK: StatusCode = StatusCode::OK;
const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
const NO_CONTENT: StatusCode = StatusCode::NO_CONTENT;
const RETAINED: &str = "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2100-01-01T00:00:00Z</RetainUntilDate></Retention>";

async fn put_document(house: &House, key: &Key, uri: &str, document: &str) -> Answer {
    house
        .ask(Some(key), Method::PUT, uri, &[], document.to_owned())
        .await
}

async fn delete(house: &House, key: &Key, uri: &str, headers: &[(&str, &str)]) -> Answer {
    house.ask(Some(key), Method::DELETE, uri, headers, "").await
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer
        .headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

/// A house with the locking bucket `kept`, in which an owner stored `a`; and the version of that.
async fn kept() -> (House, Key, String) {
    let house = House::open().await;
    let writer = house.key("writer", Role::Write).await;
    let made = [("x-amz-bucket-object-lock-enabled", "true")];
    let made = house.put(Some(&house.root), "/kept", &made).await;
    assert_eq!(made.status, OK, "{}", made.text);
    let stored = house.put(Some(&writer), "/kept/a", &[]).await;
    let version = header(&stored, "x-amz-version-id").to_owned();
    assert_eq!(version.len(), 32, "versions come with the lock");
    (house, writer, version)
}

#[tokio::test]
async fn who_may_write_may_lock_and_only_an_admin_bypasses() {
    let (house, writer, version) = kept().await;
    let unset = house.get(Some(&writer), "/kept/a?retention").await;
    assert_eq!(unset.code(), "NoSuchObjectLockConfiguration");
    let locked = put_document(&house, &writer, "/kept/a?retention", RETAINED).await;
    assert_eq!(locked.status, OK, "{}", locked.text);
    let head = house
        .ask(Some(&writer), Method::HEAD, "/kept/a", &[], "")
        .await;
    assert_eq!(header(&head, "x-amz-object-lock-mode"), "GOVERNANCE");
    let until = header(&head, "x-amz-object-lock-retain-until-date");
    assert!(until.starts_with("2100-01-01T00:00:00"), "{until}");
    let named = format!("/kept/a?versionId={version}");
    let bypass = [("x-amz-bypass-governance-retention", "true")];
    assert_eq!(delete(&house, &writer, &named, &[]).await.status, FORBIDDEN);
    let without = delete(&house, &writer, &named, &bypass).await;
    assert_eq!(without.status, FORBIDDEN, "{}", without.text);
    // Hiding is no deletion.
    let hidden = delete(&house, &writer, "/kept/a", &[]).await;
    assert_eq!(header(&hidden, "x-amz-delete-marker"), "true");
    let refused = delete(&house, &house.root, &named, &[]).await;
    assert!(refused.text.contains("2100-01-01"), "{}", refused.text);
    let gone = delete(&house, &house.root, &named, &bypass).await;
    assert_eq!(gone.status, NO_CONTENT, "{}", gone.text);
}

#[tokio::test]
async fn a_legal_hold_is_put_by_writers_and_lifted_by_admins() {
    let (house, writer, version) = kept().await;
    let hold = |status: &str| format!("<LegalHold><Status>{status}</Status></LegalHold>");
    let uri = "/kept/a?legal-hold";
    let on = put_document(&house, &writer, uri, &hold("ON")).await;
    assert_eq!(on.status, OK, "{}", on.text);
    let off = put_document(&house, &writer, uri, &hold("OFF")).await;
    assert_eq!(off.status, FORBIDDEN, "{}", off.text);
    let named = format!("/kept/a?versionId={version}");
    let bypass = [("x-amz-bypass-governance-retention", "true")];
    let held = delete(&house, &house.root, &named, &bypass).await;
    assert_eq!(held.status, FORBIDDEN, "nothing bypasses a hold");
    let off = put_document(&house, &house.root, uri, &hold("OFF")).await;
    assert_eq!(off.status, OK, "{}", off.text);
    assert_eq!(
        delete(&house, &writer, &named, &[]).await.status,
        NO_CONTENT
    );
}

#[tokio::test]
async fn a_locking_bucket_keeps_versions_and_locks_what_comes() {
    let (house, writer, _) = kept().await;
    let root = house.root.clone();
    let suspend = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";
    let suspended = put_document(&house, &root, "/kept?versioning", suspend).await;
    assert_eq!(suspended.code(), "InvalidBucketState");
    let rule = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
    let refused = put_document(&house, &writer, "/kept?object-lock", rule).await;
    assert_eq!(refused.status, FORBIDDEN);
    let set = put_document(&house, &root, "/kept?object-lock", rule).await;
    assert_eq!(set.status, OK, "{}", set.text);
    let shown = house.get(Some(&writer), "/kept?object-lock").await;
    assert!(shown.text.contains("<Days>1</Days>"), "{}", shown.text);
    let stored = house.put(Some(&writer), "/kept/b", &[]).await;
    let version = header(&stored, "x-amz-version-id");
    let bypass = [("x-amz-bypass-governance-retention", "true")];
    let named = format!("/kept/b?versionId={version}");
    let refused = delete(&house, &root, &named, &bypass).await;
    assert_eq!(refused.status, FORBIDDEN, "compliance binds root too");
    house.put(Some(&root), "/plain", &[]).await;
    let held = [("x-amz-object-lock-legal-hold", "ON")];
    let refused = house.put(Some(&root), "/plain/a", &held).await;
    assert_eq!(refused.code(), "InvalidRequest", "{}", refused.text);
    let none = house.get(Some(&root), "/plain?object-lock").await;
    assert_eq!(none.code(), "ObjectLockConfigurationNotFoundError");
}

#[tokio::test]
async fn lifecycle_rules_are_told_with_each_object() {
    let house = House::open().await;
    let root = house.root.clone();
    house.put(Some(&root), "/films", &[]).await;
    let none = house.get(Some(&root), "/films?lifecycle").await;
    assert_eq!(none.code(), "NoSuchLifecycleConfiguration");
    let rules = "<LifecycleConfiguration><Rule><ID>tidy up</ID><Status>Enabled</Status><Filter><Prefix>tmp/</Prefix></Filter><Expiration><Days>3</Days></Expiration></Rule></LifecycleConfiguration>";
    let set = put_document(&house, &root, "/films?lifecycle", rules).await;
    assert_eq!(set.status, OK, "{}", set.text);
    let shown = house.get(Some(&root), "/films?lifecycle").await;
    assert!(shown.text.contains("<ID>tidy up</ID>"), "{}", shown.text);
    let stored = house.put(Some(&root), "/films/tmp/a", &[]).await;
    let told = header(&stored, "x-amz-expiration").to_owned();
    assert!(told.starts_with("expiry-date=\""), "{told}");
    assert!(
        told.ends_with("00:00:00 GMT\", rule-id=\"tidy%20up\""),
        "{told}"
    );
    let read = house.get(Some(&root), "/films/tmp/a").await;
    assert_eq!(header(&read, "x-amz-expiration"), told);
    let other = house.put(Some(&root), "/films/a", &[]).await;
    assert_eq!(header(&other, "x-amz-expiration"), "");
    let moves = rules.replace(
        "<Expiration><Days>3</Days></Expiration>",
        "<Transition><Days>3</Days><StorageClass>GLACIER</StorageClass></Transition>",
    );
    let refused = put_document(&house, &root, "/films?lifecycle", &moves).await;
    assert_eq!(refused.code(), "InvalidStorageClass");
    let gone = delete(&house, &root, "/films?lifecycle", &[]).await;
    assert_eq!(gone.status, NO_CONTENT);
    let read = house.get(Some(&root), "/films/tmp/a").await;
    assert_eq!(header(&read, "x-amz-expiration"), "", "at once");
}

#[tokio::test]
async fn a_deletion_on_condition_is_all_or_nothing() {
    let house = House::open().await;
    let root = house.root.clone();
    house.put(Some(&root), "/films", &[]).await;
    let stored = house.put(Some(&root), "/films/a", &[]).await;
    let etag = header(&stored, "etag").to_owned();
    for wrong in [
        ("if-match", "\"0\""),
        ("x-amz-if-match-size", "6"),
        (
            "x-amz-if-match-last-modified-time",
            "Wed, 21 Oct 2015 07:28:00 GMT",
        ),
    ] {
        let refused = delete(&house, &root, "/films/a", &[wrong]).await;
        assert_eq!(refused.code(), "PreconditionFailed", "{wrong:?}");
    }
    let negative = [("x-amz-if-match-size", "-1")];
    let refused = delete(&house, &root, "/films/a", &negative).await;
    assert_eq!(refused.code(), "InvalidArgument");
    let many = "<Delete><Object><Key>a</Key><Size>9</Size></Object></Delete>";
    let answer = house
        .ask(Some(&root), Method::POST, "/films?delete", &[], many)
        .await;
    assert!(
        answer.text.contains("PreconditionFailed"),
        "{}",
        answer.text
    );
    let right = [("if-match", etag.as_str()), ("x-amz-if-match-size", "5")];
    let gone = delete(&house, &root, "/films/a", &right).await;
    assert_eq!(gone.status, NO_CONTENT, "{}", gone.text);
    let again = delete(&house, &root, "/films/a", &right).await;
    assert_eq!(again.status, NO_CONTENT, "deleting nothing succeeds");
}

#[tokio::test]
async fn a_quota_is_told_as_such() {
    let house = House::open().await;
    let root = house.root.clone();
    house.put(Some(&root), "/films", &[]).await;
    let quota = Quota {
        bytes: Some(9),
        objects: None,
    };
    let films = "films".parse().unwrap();
    house.store.set_bucket_quota(&films, quota).await.unwrap();
    assert_eq!(house.put(Some(&root), "/films/a", &[]).await.status, OK);
    let refused = house.put(Some(&root), "/films/b", &[]).await;
    assert_eq!(
        (refused.status, refused.code()),
        (FORBIDDEN, "QuotaExceeded")
    );
    assert!(refused.text.contains("9 bytes"), "{}", refused.text);
    assert_eq!(house.put(Some(&root), "/films/a", &[]).await.status, OK);
}

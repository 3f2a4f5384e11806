//! The room as a whole, on a real catalog.
#![expect(clippy::unwrap_used, reason = "tests")]

mod authorize;
mod sessions;

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::catalog::Catalog;
use crate::kernel::{AccessKeyId, BucketName, Clock, ObjectKey};

struct Room {
    identity: Identity,
    catalog: Catalog,
    clock: Clock,
    dir: tempfile::TempDir,
}

async fn room() -> Room {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("catalog.sqlite");
    let catalog = Catalog::open(&crate::catalog::Options::Sqlite(file))
        .await
        .unwrap();
    let clock = Clock::manual(1_700_000_000_000);
    let options = Options {
        data_dir: dir.path().into(),
        tailnet: None,
    };
    let identity = Identity::open(catalog.clone(), clock.clone(), options)
        .await
        .unwrap();
    Room {
        identity,
        catalog,
        clock,
        dir,
    }
}

fn bucket(name: &str) -> BucketName {
    name.parse().unwrap()
}

fn key(name: &str) -> ObjectKey {
    name.parse().unwrap()
}

fn reader(pattern: &str) -> NewKey {
    NewKey {
        name: "tv".into(),
        grants: vec![Grant::new(Role::Read, pattern.parse().unwrap())],
        expires_in_s: None,
    }
}

async fn created(room: &Room, new: NewKey) -> (AccessKeyId, Secret) {
    let made = room
        .identity
        .create_key(&Caller::system(), new)
        .await
        .unwrap();
    (made.key.id, made.secret)
}

#[tokio::test]
async fn the_root_pair_is_made_once_and_kept_readable_by_nobody_else() {
    let room = room().await;
    let RootKey::Created { id, secret, file } = room.identity.ensure_root(None).await.unwrap()
    else {
        panic!("the first start makes the pair")
    };
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(
        std::fs::read_to_string(&file)
            .unwrap()
            .contains(secret.reveal())
    );
    let again = room.identity.ensure_root(None).await.unwrap();
    assert!(matches!(again, RootKey::Kept { id: kept } if kept == id));
    let caller = room
        .identity
        .basic(id.as_str(), secret.reveal())
        .await
        .unwrap()
        .unwrap();
    assert!(caller.is_root() && caller.may(Action::Deploy, &Resource::Node).allow);
    let error = room.identity.revoke_key(&caller, &id).await.unwrap_err();
    assert!(matches!(error, IdentityError::Forbidden(_)));
    let rotated = room
        .identity
        .rotate_key(&caller, &id)
        .await
        .unwrap()
        .unwrap();
    assert!(
        room.identity
            .basic(id.as_str(), secret.reveal())
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        room.identity
            .basic(id.as_str(), rotated.reveal())
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        std::fs::read_to_string(&file)
            .unwrap()
            .contains(rotated.reveal())
    );
}

#[tokio::test]
async fn a_preset_pair_replaces_the_generated_one() {
    let room = room().await;
    let first = room.identity.ensure_root(None).await.unwrap();
    let preset = |secret: &str| RootPreset {
        id: "admin".into(),
        secret: Secret::new(secret),
    };
    let short = room.identity.ensure_root(Some(preset("short"))).await;
    assert!(matches!(short, Err(IdentityError::Invalid(_))));
    for secret in ["correct horse", "battery staple"] {
        let root = room
            .identity
            .ensure_root(Some(preset(secret)))
            .await
            .unwrap();
        assert!(matches!(&root, RootKey::Preset { id } if id.as_str() == "admin"));
        assert!(
            room.identity
                .basic("admin", secret)
                .await
                .unwrap()
                .is_some()
        );
    }
    assert!(
        room.identity
            .basic("admin", "correct horse")
            .await
            .unwrap()
            .is_none()
    );
    assert!(room.identity.key(first.id()).await.unwrap().is_none());
    assert!(!room.dir.path().join(ROOT_CREDENTIALS_FILE).exists());
}

#[tokio::test]
async fn two_first_starts_agree_on_one_root() {
    let room = room().await;
    let (one, two) = tokio::join!(
        room.identity.ensure_root(None),
        room.identity.ensure_root(None)
    );
    assert_eq!(one.unwrap().id(), two.unwrap().id());
    let roots = room.identity.keys("", 10).await.unwrap();
    assert_eq!(roots.len(), 1);
}

#[tokio::test]
async fn a_key_works_until_it_is_disabled_expired_or_revoked() {
    let room = room().await;
    let new = NewKey {
        expires_in_s: Some(60),
        ..reader("films")
    };
    let (id, secret) = created(&room, new).await;
    let ask = || room.identity.basic(id.as_str(), secret.reveal());
    let caller = ask().await.unwrap().unwrap();
    assert_eq!(caller.actor().to_string(), format!("key:{id}"));
    let (signing, same) = room.identity.secret_of(id.as_str()).await.unwrap().unwrap();
    assert!(signing.equals(secret.reveal()) && same == caller);
    assert!(
        room.identity
            .basic(id.as_str(), "wrong")
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        room.identity
            .basic("NEBNOBODY", "x")
            .await
            .unwrap()
            .is_none()
    );
    assert!(room.identity.basic("'; --", "x").await.unwrap().is_none());
    let system = Caller::system();
    assert!(room.identity.disable_key(&system, &id, true).await.unwrap());
    assert!(ask().await.unwrap().is_none());
    assert!(
        room.identity
            .disable_key(&system, &id, false)
            .await
            .unwrap()
    );
    assert!(ask().await.unwrap().is_some());
    room.clock.advance_ms(60_000);
    assert!(ask().await.unwrap().is_none());
    assert!(room.identity.revoke_key(&system, &id).await.unwrap());
    assert!(!room.identity.revoke_key(&system, &id).await.unwrap());
    let audit = room.catalog.audit(i64::MAX, 10).await.unwrap();
    let what: Vec<_> = audit.iter().map(|line| line.resource.as_str()).collect();
    let expected: Vec<_> = ["revoke", "enable", "disable", "create"]
        .map(|word| format!("{word} key:{id}"))
        .into();
    assert_eq!(what, expected);
}

#[tokio::test]
async fn nobody_gives_a_right_that_it_has_not() {
    let room = room().await;
    let admin = NewKey {
        grants: vec![Grant::new(Role::Admin, BucketPattern::all())],
        ..NewKey::default()
    };
    let (id, secret) = created(&room, admin).await;
    let admin = room
        .identity
        .basic(id.as_str(), secret.reveal())
        .await
        .unwrap()
        .unwrap();
    let deploy = NewKey {
        grants: vec![Grant {
            deploy: true,
            ..Grant::default()
        }],
        ..NewKey::default()
    };
    let refused = room.identity.create_key(&admin, deploy.clone()).await;
    assert!(matches!(refused, Err(IdentityError::Forbidden(_))));
    let (target, _) = created(&room, deploy).await;
    let refused = room.identity.rotate_key(&admin, &target).await;
    assert!(matches!(refused, Err(IdentityError::Forbidden(_))));
    let root = room.identity.ensure_root(None).await.unwrap();
    let refused = room.identity.rotate_key(&admin, root.id()).await;
    assert!(matches!(refused, Err(IdentityError::Forbidden(_))));
    for empty in [vec![], vec![Grant::default()]] {
        let new = NewKey {
            grants: empty,
            ..NewKey::default()
        };
        let refused = room.identity.create_key(&admin, new).await;
        assert!(matches!(refused, Err(IdentityError::Invalid(_))));
    }
}

#[tokio::test]
async fn secrets_rest_sealed_and_another_master_key_is_noticed() {
    let room = room().await;
    let (id, secret) = created(&room, reader("films")).await;
    let row = room.catalog.access_key(&id).await.unwrap().unwrap();
    let plain = secret.reveal().as_bytes();
    assert!(!row.secret.windows(plain.len()).any(|w| w == plain));
    let made = room
        .identity
        .create_key(&Caller::system(), reader("films"))
        .await
        .unwrap();
    assert!(!format!("{made:?}").contains(made.secret.reveal()));
    std::fs::remove_file(room.dir.path().join(MASTER_KEY_FILE)).unwrap();
    let options = Options {
        data_dir: room.dir.path().into(),
        tailnet: None,
    };
    let other = Identity::open(room.catalog.clone(), room.clock.clone(), options).await;
    assert!(matches!(other, Err(IdentityError::MasterKey)));
}

#[tokio::test]
async fn a_link_opens_its_scope_until_it_ends() {
    let room = room().await;
    let scope = LinkScope::Prefix(bucket("films"), "holiday/".into());
    let made = room
        .identity
        .create_link(&Caller::system(), scope, 60)
        .await
        .unwrap();
    let token = made.token.reveal();
    assert_eq!(token.len(), 64);
    let ask = || room.identity.link(token);
    let caller = ask().await.unwrap().unwrap();
    let films = bucket("films");
    for (name, allowed) in [
        ("holiday/a.mp4", true),
        ("holiday/../b.mp4", true),
        ("holiday", false),
        ("b.mp4", false),
    ] {
        let name = key(name);
        let read = caller.may(Action::ReadObject, &Resource::Object(&films, &name));
        assert_eq!(read.allow, allowed, "{name}");
        for action in Action::ALL.into_iter().filter(|a| *a != Action::ReadObject) {
            for resource in [
                Resource::Node,
                Resource::Bucket(&films),
                Resource::Object(&films, &name),
            ] {
                assert!(!caller.may(action, &resource).allow, "{action} {resource}");
            }
        }
    }
    room.clock.advance_ms(59_999);
    assert!(ask().await.unwrap().is_some());
    room.clock.advance_ms(1);
    assert!(ask().await.unwrap().is_none());
    for seconds in [0, LINK_LIFE_MAX_S + 1] {
        let scope = LinkScope::Object(bucket("films"), key("a"));
        let system = Caller::system();
        let refused = room.identity.create_link(&system, scope, seconds).await;
        assert!(matches!(refused, Err(IdentityError::Invalid(_))));
    }
}

#[tokio::test]
async fn a_revoked_link_stops_at_once_and_so_do_the_links_of_a_revoked_key() {
    let room = room().await;
    let system = Caller::system();
    let (id, secret) = created(&room, reader("films")).await;
    let maker = room
        .identity
        .basic(id.as_str(), secret.reveal())
        .await
        .unwrap()
        .unwrap();
    let scope = || LinkScope::Object(bucket("films"), key("a.mp4"));
    let one = room
        .identity
        .create_link(&maker, scope(), 60)
        .await
        .unwrap();
    let two = room
        .identity
        .create_link(&maker, scope(), 60)
        .await
        .unwrap();
    assert_eq!(room.identity.links("", 10).await.unwrap().len(), 2);
    assert!(
        room.identity
            .link(one.token.reveal())
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        room.identity
            .link(two.token.reveal())
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        room.identity
            .revoke_link(&system, one.link.id)
            .await
            .unwrap()
    );
    assert!(
        !room
            .identity
            .revoke_link(&system, one.link.id)
            .await
            .unwrap()
    );
    assert!(
        room.identity
            .link(one.token.reveal())
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        room.identity
            .link(two.token.reveal())
            .await
            .unwrap()
            .is_some()
    );
    assert!(room.identity.revoke_key(&system, &id).await.unwrap());
    assert!(
        room.identity
            .link(two.token.reveal())
            .await
            .unwrap()
            .is_none()
    );
    assert!(room.identity.links("", 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn notes_are_written_by_the_task_or_by_themselves() {
    let room = room().await;
    let (id, secret) = created(&room, reader("films")).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let task = tokio::spawn(room.identity.clone().run(stop.clone()));
    let caller = room
        .identity
        .basic(id.as_str(), secret.reveal())
        .await
        .unwrap()
        .unwrap();
    let films = bucket("films");
    let name = key("a\nb");
    let object = Resource::Object(&films, &name);
    let decision = caller.may(Action::WriteObject, &object);
    let note = || {
        let outcome = Outcome::Refused;
        room.identity.audit(
            &caller,
            Action::WriteObject,
            &object,
            outcome,
            &decision.rule,
        )
    };
    note().await;
    stop.cancel();
    task.await.unwrap();
    // The task is gone: this one writes itself.
    note().await;
    let audit = room.catalog.audit(i64::MAX, 10).await.unwrap();
    assert_eq!(audit.len(), 3);
    assert_eq!(audit[0].resource, "films/a\\nb");
    assert_eq!(
        (audit[0].outcome.as_str(), audit[0].rule.as_str()),
        ("refused", "default deny")
    );
    let key = room.identity.key(&id).await.unwrap().unwrap();
    assert_eq!(key.last_used_ms, Some(room.clock.now_ms()));
}

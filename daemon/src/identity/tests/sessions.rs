//! Temporary keys, on a real catalog.

use super::*;

fn lent(expires_in_s: u64, scope: Vec<Grant>) -> NewSession {
    NewSession {
        name: "ci".into(),
        expires_in_s,
        scope,
    }
}

async fn holder(room: &Room, id: &AccessKeyId, secret: &Secret) -> Caller {
    let caller = room.identity.basic(id.as_str(), secret.reveal()).await;
    caller.unwrap().unwrap()
}

#[tokio::test]
async fn a_temporary_key_works_with_its_token_until_its_time_is_over() {
    let room = room().await;
    let (id, secret) = created(&room, reader("films")).await;
    let by = holder(&room, &id, &secret).await;
    let made = room.identity.create_session(&by, lent(900, vec![]));
    let made = made.await.unwrap();
    assert_eq!(made.expires_ms, room.clock.now_ms() + 900_000);
    let ask = |id: &str, token: &str| {
        let (id, token) = (id.to_owned(), token.to_owned());
        let identity = room.identity.clone();
        async move { identity.session_of(&id, &token).await.unwrap() }
    };
    let (own, token) = (made.id.as_str(), made.token.reveal());
    let (known, caller) = ask(own, token).await.unwrap();
    assert!(known.equals(made.secret.reveal()));
    assert_eq!(
        caller.actor(),
        by.actor(),
        "what it makes belongs to its maker"
    );
    assert_eq!(caller.to_string(), format!("key:{id}/{own} (ci)"));
    let (films, key) = (bucket("films"), key("a"));
    let object = Resource::Object(&films, &key);
    assert!(caller.may(Action::ReadObject, &object).allow);
    assert!(!caller.may(Action::WriteObject, &object).allow);
    let invalid = Some(SessionRefusal::Invalid);
    assert_eq!(ask("NETOTHER", token).await.err(), invalid);
    assert_eq!(ask(own, &token[1..]).await.err(), invalid);
    assert_eq!(ask(own, "").await.err(), invalid);
    assert_eq!(ask(own, &"A".repeat(20_000)).await.err(), invalid);
    let basic = |secret: &str| {
        let (secret, identity) = (secret.to_owned(), room.identity.clone());
        async move { identity.basic_session(own, &secret, token).await.unwrap() }
    };
    assert!(basic(made.secret.reveal()).await.is_some());
    assert!(basic("wrong").await.is_none());
    assert!(
        room.identity
            .basic(own, made.secret.reveal())
            .await
            .unwrap()
            .is_none()
    );
    room.clock.advance_ms(899_999);
    assert!(ask(own, token).await.is_ok());
    room.clock.advance_ms(1);
    assert_eq!(ask(own, token).await.err(), Some(SessionRefusal::Expired));
}

#[tokio::test]
async fn a_temporary_key_ends_with_the_key_behind_it() {
    let room = room().await;
    let system = Caller::system();
    for end in ["disable", "revoke", "rotate"] {
        let (id, secret) = created(&room, reader("films")).await;
        let by = holder(&room, &id, &secret).await;
        let made = room.identity.create_session(&by, lent(3600, vec![]));
        let made = made.await.unwrap();
        let ask = || {
            room.identity
                .session_of(made.id.as_str(), made.token.reveal())
        };
        assert!(ask().await.unwrap().is_ok());
        match end {
            "disable" => assert!(room.identity.disable_key(&system, &id, true).await.unwrap()),
            "revoke" => assert!(room.identity.revoke_key(&system, &id).await.unwrap()),
            _ => assert!(
                room.identity
                    .rotate_key(&system, &id)
                    .await
                    .unwrap()
                    .is_some()
            ),
        }
        let refused = ask().await.unwrap().err();
        assert_eq!(refused, Some(SessionRefusal::Revoked), "{end}");
    }
    let short = NewKey {
        expires_in_s: Some(1000),
        ..reader("films")
    };
    let (id, secret) = created(&room, short).await;
    let by = holder(&room, &id, &secret).await;
    let made = room.identity.create_session(&by, lent(3600, vec![]));
    let ends_ms = made.await.unwrap().expires_ms;
    assert_eq!(
        ends_ms,
        room.clock.now_ms() + 1_000_000,
        "no longer than its maker"
    );
}

#[tokio::test]
async fn who_may_lend_what_and_for_how_long_is_checked() {
    let room = room().await;
    let (id, secret) = created(&room, reader("*")).await;
    let by = holder(&room, &id, &secret).await;
    let try_ = |by: Caller, new: NewSession| {
        let identity = room.identity.clone();
        async move { identity.create_session(&by, new).await }
    };
    for life_s in [0, 899, 43_201, u64::MAX] {
        let refused = try_(by.clone(), lent(life_s, vec![])).await;
        assert!(
            matches!(refused, Err(IdentityError::Invalid(_))),
            "{life_s}"
        );
    }
    for nobody in [Caller::anonymous(), Caller::system()] {
        let refused = try_(nobody, lent(900, vec![])).await;
        assert!(matches!(refused, Err(IdentityError::Forbidden(_))));
    }
    let below = Grant {
        prefixes: vec!["in/".into()],
        ..Grant::new(Role::Write, "films".parse().unwrap())
    };
    let made = try_(by.clone(), lent(900, vec![below.clone()]))
        .await
        .unwrap();
    let session = room
        .identity
        .session_of(made.id.as_str(), made.token.reveal());
    let (_, caller) = session.await.unwrap().unwrap();
    let films = bucket("films");
    let (inside, outside) = (key("in/a"), key("out/a"));
    let may = |action, key| caller.may(action, &Resource::Object(&films, key)).allow;
    assert!(may(Action::ReadObject, &inside) && !may(Action::ReadObject, &outside));
    assert!(
        !may(Action::WriteObject, &inside),
        "its maker may only read"
    );
    let chained = try_(caller, lent(900, vec![])).await;
    assert!(matches!(chained, Err(IdentityError::Forbidden(_))));
    let mut admin = below;
    admin.role = Some(Role::Admin);
    let refused = try_(by, lent(900, vec![admin])).await;
    assert!(matches!(refused, Err(IdentityError::Invalid(_))));
}

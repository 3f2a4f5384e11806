//! Temporary keys, on a real catalog.

use super::*;

fn lent(expires_in_s: u64, scope: Vec<Grant>) -> NewSession {
    NewSession {
        name: "ci".into(),
        expires_in_s,
        scope,
        policy: None,
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

#[tokio::test]
async fn one_temporary_key_is_taken_back_alone_and_by_its_own_alone() {
    let room = room().await;
    let (id, secret) = created(&room, reader("films")).await;
    let by = holder(&room, &id, &secret).await;
    let (other, other_secret) = created(&room, reader("films")).await;
    let other = holder(&room, &other, &other_secret).await;
    let make = || room.identity.create_session(&by, lent(3600, vec![]));
    let (first, second) = (make().await.unwrap(), make().await.unwrap());
    let works = |one: &CreatedSession| {
        let (id, token) = (one.id.to_string(), one.token.reveal().to_owned());
        let identity = room.identity.clone();
        async move { identity.session_of(&id, &token).await.unwrap() }
    };
    let (_, through) = works(&first).await.unwrap();
    room.identity.used(&through);
    let listed = room.identity.sessions(&by, "", 10).await.unwrap();
    assert_eq!(listed.len(), 2);
    let used: Vec<_> = listed
        .iter()
        .filter(|one| one.last_used_ms.is_some())
        .collect();
    assert!(matches!(used[..], [one] if one.id == first.id), "at once");
    assert!(
        room.identity
            .sessions(&other, "", 10)
            .await
            .unwrap()
            .is_empty()
    );
    let revoke = |by: &Caller| {
        let (by, id, identity) = (by.clone(), first.id.clone(), room.identity.clone());
        async move { identity.revoke_session(&by, &id).await.unwrap() }
    };
    assert!(!revoke(&other).await, "somebody else's");
    assert!(works(&first).await.is_ok());
    assert!(revoke(&by).await);
    assert!(!revoke(&by).await, "it is gone");
    assert_eq!(works(&first).await.err(), Some(SessionRefusal::Revoked));
    assert!(works(&second).await.is_ok(), "the other stays");
    let listed = room.identity.sessions(&by, "", 10).await.unwrap();
    assert!(matches!(&listed[..], [one] if one.id == second.id));
    // Whoever manages keys takes back anybody's, also one that was never entered.
    let system = Caller::system();
    let unknown = AccessKeyId::temporary();
    assert!(
        room.identity
            .revoke_session(&system, &unknown)
            .await
            .unwrap()
    );
    assert!(
        room.identity
            .revoke_session(&system, &second.id)
            .await
            .unwrap()
    );
    assert_eq!(works(&second).await.err(), Some(SessionRefusal::Revoked));
}

#[tokio::test]
async fn a_policy_takes_rights_away_and_gives_none() {
    let room = room().await;
    let (id, secret) = created(&room, reader("*")).await;
    let by = holder(&room, &id, &secret).await;
    let policy = |text: &str| NewSession {
        policy: Some(text.to_owned()),
        ..lent(900, vec![])
    };
    let with = |text: &str| {
        let (new, by, identity) = (policy(text), by.clone(), room.identity.clone());
        async move {
            let made = identity.create_session(&by, new).await?;
            let session = identity.session_of(made.id.as_str(), made.token.reveal());
            Ok::<_, IdentityError>(session.await?.unwrap().1)
        }
    };
    let caller = with(
        r#"{"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::films/in/*"},
            {"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::films/in/secret",
             "Condition": {"DateGreaterThan": {"aws:CurrentTime": "2000-01-01T00:00:00Z"}}}]}"#,
    );
    let caller = caller.await.unwrap();
    let films = bucket("films");
    let may = |action, name: &str| {
        let name = key(name);
        caller.may(action, &Resource::Object(&films, &name)).allow
    };
    assert!(may(Action::ReadObject, "in/a"));
    assert!(!may(Action::ReadObject, "out/a"), "the policy is silent");
    assert!(
        !may(Action::WriteObject, "in/a"),
        "the key behind it may not"
    );
    assert!(
        !may(Action::ReadObject, "in/secret"),
        "a denial on what nobody knows holds"
    );
    for (action, resource) in [
        (Action::ListBuckets, Resource::Node),
        (Action::ListObjects, Resource::Bucket(&films)),
        (Action::ReadStatus, Resource::Node),
        (Action::ReadEvents, Resource::Bucket(&films)),
    ] {
        assert!(!caller.may(action, &resource).allow, "{action}");
    }
    for wrong in [
        "{}",
        "nonsense",
        r#"{"Statement": []}"#,
        r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"}}"#,
        r#"{"Statement": {"Effect": "Allow", "Action": "ec2:Run", "Resource": "*"}}"#,
        &format!(
            r#"{{"Id": "{}", "Statement": {{"Effect": "Allow", "Action": "*", "Resource": "*"}}}}"#,
            "x".repeat(2048)
        ),
    ] {
        let refused = with(wrong).await;
        assert!(matches!(refused, Err(IdentityError::Invalid(_))), "{wrong}");
    }
}

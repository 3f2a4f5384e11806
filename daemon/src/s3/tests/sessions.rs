//! Temporary keys and rights that end at a prefix.

use http::{Method, StatusCode};

use super::{Answer, House, Key};
use crate::identity::{Caller, Grant, NewKey, Role};

const FORM: (&str, &str) = (
    "content-type",
    "application/x-www-form-urlencoded; charset=utf-8",
);

async fn sts(house: &House, key: Option<&Key>, form: &str) -> Answer {
    let form = format!("Version=2011-06-15&{form}");
    house.ask(key, Method::POST, "/", &[FORM], form).await
}

/// What stands in an element of an answer.
fn element<'a>(answer: &'a Answer, name: &str) -> &'a str {
    let rest = answer.text.split(&format!("<{name}>")).nth(1);
    rest.and_then(|rest| rest.split(&format!("</{name}>")).next())
        .unwrap_or_default()
}

async fn key_below(house: &House, role: Role, prefix: &str) -> Key {
    let new = NewKey {
        name: "hall".into(),
        grants: vec![Grant {
            prefixes: vec![prefix.into()],
            ..Grant::new(role, "films".parse().unwrap())
        }],
        expires_in_s: None,
    };
    let made = house.identity.create_key(&Caller::system(), new).await;
    let made = made.unwrap();
    Key {
        id: made.key.id.to_string(),
        secret: made.secret.reveal().to_owned(),
    }
}

#[tokio::test]
async fn an_sdk_gets_a_temporary_key_that_needs_its_token() {
    let house = House::open().await;
    let root = house.root.clone();
    let writer = house.key("writer", Role::Write).await;
    house.put(Some(&root), "/films", &[]).await;
    for action in [
        "Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fx&RoleSessionName=ci+1",
        "Action=GetSessionToken&DurationSeconds=900",
        "Action=GetFederationToken&Name=tv",
    ] {
        let answer = sts(&house, Some(&writer), action).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let temporary = Key {
            id: element(&answer, "AccessKeyId").to_owned(),
            secret: element(&answer, "SecretAccessKey").to_owned(),
        };
        assert!(
            element(&answer, "Expiration").ends_with('Z'),
            "{}",
            answer.text
        );
        let token = [("x-amz-security-token", element(&answer, "SessionToken"))];
        let put = house.put(Some(&temporary), "/films/a", &token).await;
        assert_eq!(put.status, StatusCode::OK, "{}", put.text);
        let object = house
            .store
            .head(&"films".parse().unwrap(), &"a".parse().unwrap(), None)
            .await
            .unwrap();
        assert_eq!(
            object.owner, writer.id,
            "it belongs to whoever lent the key"
        );
        let bare = house.get(Some(&temporary), "/films/a").await;
        assert_eq!(
            (bare.code(), bare.status.as_u16()),
            ("InvalidAccessKeyId", 403)
        );
        let wrong = [("x-amz-security-token", "wrong")];
        let wrong = house
            .ask(Some(&temporary), Method::GET, "/films/a", &wrong, "")
            .await;
        assert_eq!((wrong.code(), wrong.status.as_u16()), ("InvalidToken", 400));
        let lasting = house
            .ask(Some(&writer), Method::GET, "/films/a", &token, "")
            .await;
        assert_eq!(lasting.code(), "InvalidToken", "another key's token");
    }
    let who = sts(&house, Some(&writer), "Action=GetCallerIdentity").await;
    assert_eq!(element(&who, "UserId"), writer.id);
}

#[tokio::test]
async fn what_the_token_service_does_not_do_is_refused_in_its_own_words() {
    let house = House::open().await;
    let root = house.root.clone();
    for (form, code, status) in [
        ("Action=AssumeRole&Policy=%7B%7D", "ValidationError", 400),
        (
            "Action=GetSessionToken&Policy=%7B%7D",
            "NotImplemented",
            501,
        ),
        (
            "Action=AssumeRole&PolicyArns.member.1.arn=x",
            "NotImplemented",
            501,
        ),
        ("Action=GetSessionToken&TokenCode=1", "NotImplemented", 501),
        (
            "Action=AssumeRole&DurationSeconds=1",
            "ValidationError",
            400,
        ),
        (
            "Action=AssumeRole&DurationSeconds=x",
            "ValidationError",
            400,
        ),
        ("Action=GetFederationToken", "MissingParameter", 400),
        ("Action=DecodeAuthorizationMessage", "InvalidAction", 400),
        ("x=1", "MissingParameter", 400),
    ] {
        let answer = sts(&house, Some(&root), form).await;
        assert_eq!(
            (answer.code(), answer.status.as_u16()),
            (code, status),
            "{form}"
        );
        assert!(answer.text.starts_with("<ErrorResponse"), "{}", answer.text);
    }
    let unknown = Key {
        id: "NEBNOBODY".into(),
        secret: "x".into(),
    };
    let answer = sts(&house, Some(&unknown), "Action=GetSessionToken").await;
    assert_eq!(answer.code(), "InvalidClientTokenId");
    let answer = sts(&house, None, "Action=GetSessionToken").await;
    assert_eq!(
        (answer.code(), answer.status.as_u16()),
        ("AccessDenied", 403)
    );
    let long = format!("Action=GetSessionToken&x={}", "y".repeat(10_000));
    assert_eq!(
        sts(&house, Some(&root), &long).await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn rights_end_at_the_prefix_of_a_grant() {
    let house = House::open().await;
    let root = house.root.clone();
    house.put(Some(&root), "/films", &[]).await;
    house.put(Some(&root), "/other", &[]).await;
    house.put(Some(&root), "/films/out/a", &[]).await;
    let hall = key_below(&house, Role::Write, "in/").await;
    let hall = Some(&hall);
    assert_eq!(
        house.put(hall, "/films/in/a", &[]).await.status,
        StatusCode::OK
    );
    for uri in ["/films/in", "/films/out/a", "/films/a", "/other/in/a"] {
        assert_eq!(
            house.put(hall, uri, &[]).await.code(),
            "AccessDenied",
            "{uri}"
        );
    }
    assert_eq!(house.get(hall, "/films/in/a").await.status, StatusCode::OK);
    assert_eq!(house.get(hall, "/films/out/a").await.code(), "AccessDenied");
    let copy = [("x-amz-copy-source", "/films/out/a")];
    let copy = house.ask(hall, Method::PUT, "/films/in/b", &copy, "").await;
    assert_eq!(copy.code(), "AccessDenied");
    for (uri, allowed) in [
        ("/films?list-type=2&prefix=in%2F", true),
        ("/films?list-type=2&prefix=in%2Fa", true),
        ("/films?prefix=in%2F", true),
        ("/films?prefix=in%2F&versions", true),
        ("/films?prefix=in%2F&uploads", true),
        ("/films?list-type=2", false),
        ("/films?list-type=2&prefix=", false),
        ("/films?list-type=2&prefix=in", false),
        ("/films?list-type=2&prefix=out%2F", false),
        ("/films?versions", false),
        ("/films?uploads", false),
        ("/other?prefix=in%2F", false),
        ("/films?policy", false),
    ] {
        let answer = house.get(hall, uri).await;
        assert_eq!(
            answer.status == StatusCode::OK,
            allowed,
            "{uri}: {}",
            answer.text
        );
        assert!(!answer.text.contains("out/a"), "{uri}");
    }
    let twice = house
        .get(hall, "/films?list-type=2&prefix=&prefix=in%2F")
        .await;
    assert_eq!(twice.code(), "InvalidArgument");
    let buckets = house.get(hall, "/").await;
    assert!(buckets.text.contains("films") && !buckets.text.contains("other"));
    let head = house.ask(hall, Method::HEAD, "/films", &[], "").await;
    assert_eq!(head.status, StatusCode::OK);
    let gone = house
        .ask(hall, Method::DELETE, "/films/out/a", &[], "")
        .await;
    assert_eq!(gone.code(), "AccessDenied");
}

#[tokio::test]
async fn the_policy_of_a_call_bounds_the_temporary_key_for_root_too() {
    let house = House::open().await;
    let root = house.root.clone();
    for path in ["/films", "/other", "/films/in/a", "/films/out/a"] {
        house.put(Some(&root), path, &[]).await;
    }
    let policy = r#"{"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], "Resource": "arn:aws:s3:::films/in/*"},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::films",
         "Condition": {"StringLike": {"s3:prefix": "in/*"}}},
        {"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}]}"#;
    let encoded = percent_encoding::utf8_percent_encode(policy, percent_encoding::NON_ALPHANUMERIC);
    let form = format!("Action=AssumeRole&RoleSessionName=ci&Policy={encoded}");
    let answer = sts(&house, Some(&root), &form).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert!(element(&answer, "PackedPolicySize").parse::<u32>().unwrap() > 10);
    let temporary = Key {
        id: element(&answer, "AccessKeyId").to_owned(),
        secret: element(&answer, "SecretAccessKey").to_owned(),
    };
    let token = [("x-amz-security-token", element(&answer, "SessionToken"))];
    let ask = async |method: Method, uri: &str| {
        let answer = house.ask(Some(&temporary), method, uri, &token, "").await;
        answer.status.is_success()
    };
    assert!(ask(Method::GET, "/films/in/a").await);
    assert!(ask(Method::PUT, "/films/in/b").await);
    assert!(ask(Method::DELETE, "/films/in/b").await);
    assert!(ask(Method::GET, "/films?list-type=2&prefix=in%2F").await);
    assert!(ask(Method::GET, "/").await);
    for (method, uri) in [
        (Method::GET, "/films/out/a"),
        (Method::PUT, "/films/out/b"),
        (Method::GET, "/films?list-type=2"),
        (Method::GET, "/films?policy"),
        (Method::GET, "/films/in/a?acl"),
        (Method::PUT, "/another"),
        (Method::PUT, "/other/in/a"),
        (Method::DELETE, "/other"),
    ] {
        assert!(!ask(method.clone(), uri).await, "{method} {uri}");
    }
    let copy = [token[0], ("x-amz-copy-source", "/films/out/a")];
    let copy = house
        .ask(Some(&temporary), Method::PUT, "/films/in/c", &copy, "")
        .await;
    assert_eq!(copy.code(), "AccessDenied");
    let many = "<Delete><Object><Key>in/a</Key></Object><Object><Key>out/a</Key></Object></Delete>";
    let many = house
        .ask(
            Some(&temporary),
            Method::POST,
            "/films?delete",
            &token,
            many,
        )
        .await;
    assert!(
        many.text.contains("<Deleted><Key>in/a</Key>"),
        "{}",
        many.text
    );
    assert!(
        many.text.contains("<Code>AccessDenied</Code>"),
        "{}",
        many.text
    );
    let made: crate::kernel::AccessKeyId = temporary.id.parse().unwrap();
    let revoked = house
        .identity
        .revoke_session(&Caller::system(), &made)
        .await;
    assert!(revoked.unwrap());
    assert!(!ask(Method::GET, "/films/in/a").await, "taken back");
}

//! Refusals: one shape, and the same words for the same thing.

use nebula_api::problem::code;
use nebula_api::{Role, routes};
use nebula_tests::Appliance;
use reqwest::{Method, StatusCode};

use super::{bucket, get_as, get_as_nobody, key, problem, put, request_as};

#[tokio::test]
async fn whoever_is_not_known_is_asked_who_they_are() {
    let house = Appliance::start().await;
    let answer = get_as_nobody(&house, routes::BUCKETS).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.starts_with("Basic "), "{challenge}");
    let refused = problem(answer).await;
    assert_eq!(refused.code, code::UNAUTHENTICATED);
    assert!(refused.hint.is_some());
    let wrong = reqwest::Client::new()
        .get(house.at(routes::BUCKETS))
        .basic_auth(&house.key().access_key, Some("not the secret"));
    let answer = wrong.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(problem(answer).await.code, code::UNAUTHENTICATED);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_its_reason() {
    let house = Appliance::start().await;
    bucket(&house, "films").await;
    let post = |body: &'static str| {
        let request = house.request(Method::POST, routes::BUCKETS);
        request
            .header("content-type", "application/json")
            .body(body)
    };
    for (body, status, expected) in [
        ("{", 400, code::INVALID_REQUEST),
        ("{}", 400, code::INVALID_REQUEST),
        (r#"{"name":"No"}"#, 400, code::INVALID_BUCKET_NAME),
        (r#"{"name":"films"}"#, 409, code::BUCKET_EXISTS),
        (
            r#"{"name":"new","versioning":"maybe"}"#,
            400,
            code::INVALID_REQUEST,
        ),
    ] {
        let refused = problem(post(body).send().await.unwrap()).await;
        assert_eq!(
            (refused.status, refused.code.as_str()),
            (status, expected),
            "{body}"
        );
        assert!(refused.detail.is_some(), "{body}");
    }
    let long = routes::object("films", &"k".repeat(1025));
    for (path, status, expected) in [
        ("/-/api/v1/nothing".to_owned(), 404, code::ROUTE_NOT_FOUND),
        ("/-/nothing".to_owned(), 404, code::ROUTE_NOT_FOUND),
        (routes::bucket("absent"), 404, code::BUCKET_NOT_FOUND),
        (
            routes::object("films", "absent"),
            404,
            code::OBJECT_NOT_FOUND,
        ),
        (long, 400, code::INVALID_KEY),
        (routes::job(&"0".repeat(32)), 404, code::JOB_NOT_FOUND),
        (routes::job("x"), 404, code::JOB_NOT_FOUND),
        (
            format!("{}?limit=many", routes::BUCKETS),
            400,
            code::INVALID_REQUEST,
        ),
        (
            format!("{}?cursor=zz", routes::objects("films")),
            400,
            code::INVALID_REQUEST,
        ),
        (
            format!("{}?cursor=zz", routes::JOBS),
            400,
            code::INVALID_REQUEST,
        ),
        (
            format!("{}?cursor=zz", routes::ASSETS),
            400,
            code::INVALID_REQUEST,
        ),
    ] {
        let refused = problem(house.get(&path).send().await.unwrap()).await;
        assert_eq!(
            (refused.status, refused.code.as_str()),
            (status, expected),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_key_sees_its_buckets_and_learns_nothing_of_others() {
    let house = Appliance::start().await;
    bucket(&house, "films").await;
    bucket(&house, "secret").await;
    put(&house, "films", "a.txt", b"a").await;
    put(&house, "secret", "b.txt", b"b").await;
    let reader = key(&house, "films", Role::Read).await;
    for (path, status) in [
        (routes::bucket("films"), 200),
        (routes::objects("films"), 200),
        (routes::object("films", "a.txt"), 200),
        (routes::object("films", "absent"), 404),
        (routes::bucket("secret"), 403),
        (routes::bucket("absent"), 403),
        (routes::object("secret", "b.txt"), 403),
        (routes::object("secret", "absent"), 403),
        (routes::asset("secret", "b.txt"), 403),
        (routes::poster("secret", "b.txt"), 403),
        (routes::KEYS.to_owned(), 403),
        (routes::JOBS.to_owned(), 403),
        (routes::STATUS.to_owned(), 200),
        ("/-/metrics".to_owned(), 403),
    ] {
        let answer = get_as(&house, &reader, &path).await;
        assert_eq!(answer.status().as_u16(), status, "{path}");
        if status == 403 {
            assert_eq!(problem(answer).await.code, code::FORBIDDEN);
        }
    }
    let listed = super::json(get_as(&house, &reader, routes::BUCKETS).await).await;
    let names: Vec<&str> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bucket| bucket["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["films"]);
    for (method, path) in [
        (Method::DELETE, routes::object("films", "a.txt")),
        (Method::DELETE, routes::bucket("films")),
        (Method::POST, routes::job_retry(&"0".repeat(32))),
    ] {
        let request = request_as(&house, &reader, method.clone(), &path);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{method} {path}");
    }
}

#[tokio::test]
async fn figures_are_for_those_who_may_read_them_and_health_is_for_all() {
    let house = Appliance::start().await;
    let nobody = get_as_nobody(&house, "/-/metrics").await;
    assert_eq!(nobody.status(), StatusCode::UNAUTHORIZED);
    let root = house.get("/-/metrics").send().await.unwrap();
    assert_eq!(root.status(), StatusCode::OK);
    for path in [
        "/-/healthz",
        "/-/readyz",
        routes::DISCOVERY,
        routes::OPENAPI,
    ] {
        let answer = get_as_nobody(&house, path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
}

//! Requests that no client would send.

use super::server::Server;

#[tokio::test]
async fn an_unsigned_request_is_denied() {
    let server = Server::start().await;
    let http = reqwest::Client::new();
    server
        .client()
        .create_bucket()
        .bucket("films")
        .send()
        .await
        .unwrap();
    for path in ["/", "/films", "/films/key"] {
        let answer = http
            .get(format!("{}{path}", server.endpoint))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 403, "{path}");
        assert!(answer.headers().contains_key("x-amz-request-id"));
        assert!(
            answer
                .text()
                .await
                .unwrap()
                .contains("<Code>AccessDenied</Code>"),
            "{path}"
        );
    }
    let put = http
        .put(format!("{}/films/key", server.endpoint))
        .body("x")
        .send()
        .await
        .unwrap();
    assert_eq!(put.status(), 403);
}

#[tokio::test]
async fn other_kinds_of_credentials_are_refused() {
    let server = Server::start().await;
    let http = reqwest::Client::new();
    let get = |authorization: &str| {
        http.get(&server.endpoint)
            .header("authorization", authorization)
            .send()
    };
    for (authorization, code) in [
        ("AWS KEY:signature", "InvalidRequest"),
        ("Basic YTpi", "InvalidArgument"),
        ("AWS4-HMAC-SHA256 nonsense", "AuthorizationHeaderMalformed"),
    ] {
        let answer = get(authorization).await.unwrap();
        assert_eq!(answer.status(), 400, "{authorization}");
        let text = answer.text().await.unwrap();
        assert!(text.contains(code), "{authorization}: {text}");
    }
}

#[tokio::test]
async fn a_form_that_is_none_is_refused() {
    let server = Server::start().await;
    let form = reqwest::Client::new().post(format!("{}/films", server.endpoint));
    let answer = form
        .header("content-type", "multipart/form-data; boundary=x")
        .body("--x--")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 400);
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("MalformedPOSTRequest")
    );
}

#[tokio::test]
async fn a_preflight_is_answered_unsigned_by_the_rules_of_the_bucket() {
    use aws_sdk_s3::types::{CorsConfiguration, CorsRule};
    let server = Server::start().await;
    let client = server.client();
    client.create_bucket().bucket("films").send().await.unwrap();
    let http = reqwest::Client::new();
    let ask = |method: &str| {
        http.request(
            reqwest::Method::OPTIONS,
            format!("{}/films/key", server.endpoint),
        )
        .header("origin", "https://tv.example.org")
        .header("access-control-request-method", method)
        .send()
    };
    assert_eq!(ask("GET").await.unwrap().status(), 403);
    let rule = CorsRule::builder()
        .allowed_origins("https://*.example.org")
        .allowed_methods("GET")
        .build()
        .unwrap();
    let rules = CorsConfiguration::builder()
        .cors_rules(rule)
        .build()
        .unwrap();
    client
        .put_bucket_cors()
        .bucket("films")
        .cors_configuration(rules)
        .send()
        .await
        .unwrap();
    let allowed = ask("GET").await.unwrap();
    assert_eq!(allowed.status(), 200);
    assert_eq!(
        allowed.headers()["access-control-allow-origin"],
        "https://tv.example.org"
    );
    assert_eq!(ask("PUT").await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_bucket_may_stand_in_the_host_name() {
    let server = Server::with_domain(Some("s3.test")).await;
    let client = server.client();
    client.create_bucket().bucket("films").send().await.unwrap();
    // Path style goes on under any other name; an unsigned request only shows where it was led.
    let http = reqwest::Client::new();
    let get = |host: &str| {
        http.get(format!("{}/key", server.endpoint))
            .header("host", host)
            .send()
    };
    assert_eq!(get("films.s3.test").await.unwrap().status(), 403);
    assert_eq!(get("UPPER_case.s3.test").await.unwrap().status(), 400);
    assert_eq!(server.store.buckets().await.unwrap().len(), 1);
}

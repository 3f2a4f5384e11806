//! Buckets in host names.

use http::{Method, StatusCode};

use super::{Answer, House};

async fn ask(house: &House, method: Method, host: &str, uri: &str, body: &'static str) -> Answer {
    let root = house.root.clone();
    let host = [("host", host)];
    house.ask(Some(&root), method, uri, &host, body).await
}

#[tokio::test]
async fn a_bucket_may_stand_in_the_host_name_with_dots_and_a_port() {
    let house = House::with_domain(Some("s3.home")).await;
    for bucket in ["films", "a.b.c"] {
        let host = format!("{bucket}.s3.home:8000");
        let made = ask(&house, Method::PUT, &host, "/", "").await;
        assert_eq!(made.status, StatusCode::OK, "{}", made.text);
        for key in ["/k", "/-/odd", "/dir/a%20b", "/.well-known/x"] {
            let put = ask(&house, Method::PUT, &host, key, "hello").await;
            assert_eq!(put.status, StatusCode::OK, "{key}: {}", put.text);
            assert_eq!(ask(&house, Method::GET, &host, key, "").await.text, "hello");
            let path = format!("/{bucket}{key}");
            let by_path = ask(&house, Method::GET, "s3.home", &path, "").await;
            assert_eq!(by_path.text, "hello", "path style always works");
            let elsewhere = ask(&house, Method::GET, "nas.local", &path, "").await;
            assert_eq!(elsewhere.text, "hello");
        }
        let listed = ask(&house, Method::GET, &host, "/?list-type=2", "").await;
        assert!(listed.text.contains("<Key>-/odd</Key>"), "{}", listed.text);
        assert!(listed.text.contains(&format!("<Name>{bucket}</Name>")));
    }
    let all = ask(&house, Method::GET, "s3.home:8000", "/", "").await;
    assert!(all.text.contains("<Name>films</Name>") && all.text.contains("<Name>a.b.c</Name>"));
    let nowhere = ask(&house, Method::GET, "nobody.s3.home", "/k", "").await;
    assert_eq!(nowhere.code(), "NoSuchBucket");
    let bad = ask(&house, Method::GET, "no_name.s3.home", "/k", "").await;
    assert_eq!(bad.code(), "InvalidBucketName");
    // A form for temporary keys is not asked of a bucket.
    let form = [
        ("host", "films.s3.home"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let root = house.root.clone();
    let sts = house
        .ask(
            Some(&root),
            Method::POST,
            "/",
            &form,
            "Action=GetCallerIdentity",
        )
        .await;
    assert!(
        !sts.text.contains("GetCallerIdentityResult"),
        "{}",
        sts.text
    );
}

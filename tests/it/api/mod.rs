//! The JSON API over the real daemon: its contract, its refusals, its pages, its events, and the same rights at every door.
#![expect(clippy::unwrap_used, reason = "tests")]

mod assets;
mod audit;
mod contract;
mod events;
mod figures;
mod keys;
mod library;
mod links;
mod pages;
mod playback;
mod problems;

use nebula_api::{CreateBucket, CreateKey, CreatedKey, Grant, Problem, Role, routes};
use nebula_tests::Appliance;
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

/// Makes a bucket as root.
async fn bucket(house: &Appliance, name: &str) {
    let body = CreateBucket {
        name: name.into(),
        ..CreateBucket::default()
    };
    let answer = house
        .request(Method::POST, routes::BUCKETS)
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED, "bucket {name}");
}

/// Stores an object by S3 as root.
async fn put(house: &Appliance, bucket: &str, key: &str, bytes: &[u8]) {
    let put = house.s3().put_object().bucket(bucket).key(key);
    put.body(bytes.to_vec().into()).send().await.unwrap();
}

/// Makes a key with one right.
async fn key(house: &Appliance, bucket: &str, role: Role) -> CreatedKey {
    let body = CreateKey {
        name: format!("{} on {bucket}", role.as_str()),
        grants: vec![Grant {
            bucket: bucket.into(),
            role,
            prefixes: Vec::new(),
        }],
        ..CreateKey::default()
    };
    let answer = house
        .request(Method::POST, routes::KEYS)
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    answer.json().await.unwrap()
}

/// A request with another key than root's.
fn request_as(
    house: &Appliance,
    key: &CreatedKey,
    method: Method,
    path: &str,
) -> reqwest::RequestBuilder {
    reqwest::Client::new()
        .request(method, house.at(path))
        .basic_auth(&key.key.id, Some(&key.secret))
}

async fn get_as(house: &Appliance, key: &CreatedKey, path: &str) -> Response {
    request_as(house, key, Method::GET, path)
        .send()
        .await
        .unwrap()
}

/// A request with no credential.
async fn get_as_nobody(house: &Appliance, path: &str) -> Response {
    reqwest::get(house.at(path)).await.unwrap()
}

/// A refusal, checked for what every refusal has.
async fn problem(answer: Response) -> Problem {
    let status = answer.status().as_u16();
    let header = |name: &str| {
        let value = answer.headers().get(name);
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(
        header("content-type").as_deref(),
        Some("application/problem+json"),
        "{status}"
    );
    assert_eq!(header("cache-control").as_deref(), Some("no-store"));
    let request_id = header("x-request-id");
    let problem: Problem = answer.json().await.unwrap();
    assert_eq!(problem.status, status);
    assert_eq!(problem.request_id, request_id);
    assert!(request_id.is_some());
    assert!(!problem.title.is_empty() && !problem.code.is_empty());
    problem
}

/// What a successful read answers.
async fn json(answer: Response) -> Value {
    assert_eq!(answer.status(), StatusCode::OK);
    answer.json().await.unwrap()
}

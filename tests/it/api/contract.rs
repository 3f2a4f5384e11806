//! The router and the table of operations are one.

use std::collections::BTreeMap;

use nebula_api::contract::{Answer, DOCUMENT, OPERATIONS};
use nebula_api::problem::code;
use nebula_api::routes;
use nebula_tests::Appliance;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::{get_as_nobody, problem};

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// An address with something in each of its places.
fn filled(path: &str) -> String {
    let fill = |segment: &str| match segment {
        "{bucket}" => "films".to_owned(),
        "{*key}" => "folder/a.txt".to_owned(),
        "{id}" => "0".repeat(32),
        "{blake3}" => "0".repeat(64),
        other => other.to_owned(),
    };
    path.split('/').map(fill).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn the_router_offers_what_the_table_says_and_nothing_else() {
    let house = Appliance::start().await;
    super::bucket(&house, "films").await;
    let mut offered: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for operation in OPERATIONS {
        let methods = offered.entry(operation.path).or_default();
        methods.push(operation.method);
    }
    for (path, methods) in offered {
        for name in METHODS {
            // The one that would take the bucket away under the others' feet.
            if (path, name) == (routes::BUCKET, "DELETE") {
                continue;
            }
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            let answer = house.request(method, &filled(path)).send().await.unwrap();
            let status = answer.status();
            if methods.contains(&name) {
                assert_ne!(status, StatusCode::METHOD_NOT_ALLOWED, "{name} {path}");
                assert!(!status.is_server_error(), "{name} {path}: {status}");
                if status == StatusCode::NOT_FOUND {
                    let problem = problem(answer).await;
                    assert_ne!(problem.code, code::ROUTE_NOT_FOUND, "{name} {path}");
                }
            } else {
                assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{name} {path}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_open_is_open_and_the_rest_is_not() {
    let house = Appliance::start().await;
    for operation in OPERATIONS {
        let method = Method::from_bytes(operation.method.as_bytes()).unwrap();
        let address = house.at(&filled(operation.path));
        let mut request = reqwest::Client::new().request(method, address);
        if !operation.body.is_empty() {
            // Whole enough to be read: who asks is looked at before what is asked, or after; nobody gets in either way.
            request = request.json(&serde_json::json!({
                "name": "films", "bucket": "films", "key": "a", "disk": "main", "grants": [], "expires_in_s": 60,
                "position_ms": 1, "size_bytes": 1,
            }));
        }
        let answer = request.send().await.unwrap();
        let what = format!("{} {}", operation.method, operation.path);
        if operation.open {
            assert!(answer.status().is_success(), "{what}: {}", answer.status());
        } else {
            // An id opens nothing, and so tells nothing to a stranger either.
            let refused = [StatusCode::UNAUTHORIZED, StatusCode::NOT_FOUND];
            assert!(
                refused.contains(&answer.status()),
                "{what}: {}",
                answer.status()
            );
            problem(answer).await;
        }
    }
}

#[tokio::test]
async fn the_document_is_served_to_everyone() {
    let house = Appliance::start().await;
    let answer = get_as_nobody(&house, routes::OPENAPI).await;
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.text().await.unwrap(), DOCUMENT);
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    for operation in OPERATIONS {
        let path = operation.path.replace("{*", "{");
        let entry = &document["paths"][path][operation.method.to_lowercase()];
        assert_eq!(entry["operationId"], operation.id);
    }
    let discovery: nebula_api::Discovery = get_as_nobody(&house, routes::DISCOVERY)
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(discovery.product, nebula_api::discovery::PRODUCT);
    assert_eq!(discovery.api, routes::API);
}

#[tokio::test]
async fn answers_hold_the_members_that_the_document_requires() {
    let house = Appliance::start().await;
    super::bucket(&house, "films").await;
    super::put(&house, "films", "folder/a.txt", b"words").await;
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    for operation in OPERATIONS {
        let Answer::Json(name) = operation.answer else {
            continue;
        };
        let answer = match operation.method {
            "GET" => house.get(&filled(operation.path)).send().await.unwrap(),
            _ => continue,
        };
        if answer.status() != StatusCode::OK {
            continue;
        }
        let answer: Value = answer.json().await.unwrap();
        let schema = &document["components"]["schemas"][name];
        for member in schema["required"].as_array().into_iter().flatten() {
            let member = member.as_str().unwrap();
            assert!(answer.get(member).is_some(), "{name} without {member}");
        }
        for member in answer.as_object().unwrap().keys() {
            let known = schema["properties"].get(member).is_some();
            assert!(known, "{name} has {member}, which the document leaves out");
        }
    }
}

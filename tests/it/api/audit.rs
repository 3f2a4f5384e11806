//! Every change leaves a line, whichever door it came through.

use std::collections::BTreeSet;

use nebula_api::{Role, routes};
use nebula_daemon::catalog::{Catalog, Options};
use nebula_tests::{Appliance, wait};
use reqwest::Method;

use super::{bucket, key, put, request_as};

#[tokio::test]
async fn changes_and_refusals_are_noted() {
    let house = Appliance::start().await;
    bucket(&house, "films").await;
    put(&house, "films", "a.txt", b"x").await;
    let reader = key(&house, "films", Role::Read).await;
    let path = routes::object("films", "a.txt");
    for by in ["reader", "root"] {
        let request = match by {
            "reader" => request_as(&house, &reader, Method::DELETE, &path),
            _ => house.request(Method::DELETE, &path),
        };
        request.send().await.unwrap();
    }
    let upload = house
        .request(Method::POST, routes::TUS)
        .header("tus-resumable", "1.0.0")
        .header("upload-length", "4")
        .header("upload-metadata", "bucket ZmlsbXM=,filename dA==")
        .header("content-type", "application/offset+octet-stream")
        .body("1234");
    assert_eq!(upload.send().await.unwrap().status(), 201);
    let catalog = Catalog::open(&Options::Sqlite(house.data_dir().join("nebula.db")))
        .await
        .unwrap();
    let root = format!("key:{}", house.key().access_key);
    let reader = format!("key:{}", reader.key.id);
    let wanted: BTreeSet<(&str, &str, &str, &str)> = [
        (root.as_str(), "create_bucket", "films", "done"),
        (root.as_str(), "write_object", "films/a.txt", "done"),
        (reader.as_str(), "delete_object", "films/a.txt", "refused"),
        (root.as_str(), "delete_object", "films/a.txt", "done"),
        (root.as_str(), "write_object", "films/t", "done"),
    ]
    .into();
    wait::until_async("the audit has every line", async || {
        let lines = catalog.audit(i64::MAX, 100).await.unwrap();
        let noted: BTreeSet<_> = lines
            .iter()
            .map(|line| {
                let (actor, action) = (line.actor.as_str(), line.action.as_str());
                (actor, action, line.resource.as_str(), line.outcome.as_str())
            })
            .collect();
        wanted.is_subset(&noted)
    })
    .await;
    catalog.close().await;
}

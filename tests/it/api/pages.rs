//! Lists: every item once, whatever the page's size.

use nebula_api::{Role, routes};
use nebula_tests::Appliance;
use serde_json::Value;

use super::{bucket, json, key, put};

/// Every item of a list, asked for in pages of two; the member that names each.
async fn all(house: &Appliance, path: &str, name: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let more = if path.contains('?') { '&' } else { '?' };
        let next = cursor.map(|c| format!("&cursor={c}")).unwrap_or_default();
        let page = json(
            house
                .get(&format!("{path}{more}limit=2{next}"))
                .send()
                .await
                .unwrap(),
        )
        .await;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2, "{path}");
        names.extend(
            items
                .iter()
                .map(|item| item[name].as_str().unwrap().to_owned()),
        );
        match page.get("next").and_then(Value::as_str) {
            Some(next) => cursor = Some(next.to_owned()),
            None => return names,
        }
    }
}

#[tokio::test]
async fn pages_together_are_the_whole_list() {
    let house = Appliance::start().await;
    let buckets = ["alpha", "beta", "delta", "epsilon", "gamma"];
    for name in buckets {
        bucket(&house, name).await;
    }
    assert_eq!(all(&house, routes::BUCKETS, "name").await, buckets);
    let keys = ["a", "b/ö.txt", "b/ü?.txt", "c", "d"];
    for object in keys {
        put(&house, "alpha", object, b"x").await;
    }
    let objects = routes::objects("alpha");
    assert_eq!(all(&house, &objects, "key").await, keys);
    assert_eq!(
        all(&house, &format!("{objects}?prefix=b/"), "key").await,
        keys[1..3]
    );
    let folded = json(
        house
            .get(&format!("{objects}?delimiter=/"))
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(folded["prefixes"], serde_json::json!(["b/"]));
    for _ in 0..3 {
        key(&house, "alpha", Role::Read).await;
    }
    let ids = all(&house, routes::KEYS, "id").await;
    assert_eq!(ids.len(), 4, "three and the root key");
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
}

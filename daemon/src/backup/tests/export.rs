//! Buckets as plain files.

use super::*;

#[tokio::test]
async fn a_bucket_becomes_plain_files_whatever_its_keys() {
    let places = Places::new();
    let house = House::open(&places.old).await;
    let long = "x".repeat(900);
    let keys = [
        "a",
        "a/b",
        "a/b/",
        "../up",
        "a//c",
        "50%",
        ".nebula/objects.jsonl",
        &long,
    ];
    for (seed, name) in (0..).zip(keys) {
        house
            .put(name, &noise(20_000 * usize::from(seed), seed))
            .await;
    }
    house
        .store
        .set_versioning(&bucket(), Versioning::Enabled)
        .await
        .unwrap();
    house.clock.advance_ms(1000);
    house.put("a/b", b"newer").await;
    house.delete("50%").await;
    let out = places.kept.join("out");
    let done = export(&house.store, &bucket(), &out, true).await.unwrap();
    assert_eq!((done.files, done.written), (9, 9));
    assert!(!places.kept.join("up").exists() && !places.old.join("up").exists());
    let list = fs::read_to_string(out.join(".nebula/objects.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = list
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 10, "nine versions and a delete marker");
    for (seed, name) in (0..).zip(keys) {
        let content = noise(20_000 * usize::from(seed), seed);
        let line = lines
            .iter()
            .find(|line| line["key"] == name && line["size_bytes"] == content.len())
            .unwrap_or_else(|| panic!("{name} is not listed"));
        let path = line["path"].as_str().unwrap();
        assert!(fs::read(out.join(path)).unwrap() == content, "{name}");
        if line["is_latest"] == true {
            assert_eq!(key_of(path).as_deref(), Some(name));
        }
    }
    assert_eq!(fs::read(out.join("a/b%f")).unwrap(), b"newer");
    // A second run writes what is new, and what somebody changed.
    fs::write(out.join("a/b%f"), "NEWER").unwrap();
    house.put("d", b"new").await;
    let again = export(&house.store, &bucket(), &out, true).await.unwrap();
    assert_eq!((again.files, again.written), (10, 2));
    assert_eq!(fs::read(out.join("a/b%f")).unwrap(), b"newer");
}

#[tokio::test]
async fn what_only_a_customer_can_open_is_named_and_the_rest_is_written() {
    let places = Places::new();
    let house = House::open(&places.old).await;
    house.put("open", b"open").await;
    let customer = EncryptionAsked::Customer(CustomerKey::from_bytes([1; 32]));
    let content = noise(40_000, 1);
    house.put_as("closed", &content, Some(customer)).await;
    let out = places.kept.join("out");
    let done = export(&house.store, &bucket(), &out, false).await.unwrap();
    assert_eq!((done.files, done.failed.len()), (1, 1));
    assert!(done.failed[0].starts_with("closed: "), "{:?}", done.failed);
    assert!(out.join("open").exists() && !out.join("closed").exists());
    let list = fs::read_to_string(out.join(".nebula/objects.jsonl")).unwrap();
    assert!(list.contains("\"failed\":"), "{list}");
}

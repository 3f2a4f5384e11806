//! The shapes on the wire, as a client in another language would see them.

use nebula_api::{Event, EventBody, JobState, ObjectDetails, ObjectRef, Page, Problem, Role};
use serde_json::{Value, from_value, json, to_value};

#[test]
fn an_event_is_one_flat_object() {
    let event = Event {
        seq: 7,
        at_ms: 1_700_000_000_000,
        body: EventBody::ObjectCreated {
            object: ObjectRef {
                bucket: "films".into(),
                key: "a/b.mp4".into(),
                version: None,
            },
            size_bytes: 5,
            etag: "abc".into(),
        },
    };
    let wire = json!({"seq": 7, "at_ms": 1_700_000_000_000_i64, "type": "object.created",
        "bucket": "films", "key": "a/b.mp4", "size_bytes": 5, "etag": "abc"});
    assert_eq!(to_value(&event).expect("serialises"), wire);
    assert_eq!(from_value::<Event>(wire).expect("parses"), event);
    assert_eq!(event.body.name(), "object.created");
    assert_eq!(event.body.bucket(), Some("films"));
}

#[test]
fn a_newer_daemon_does_not_break_an_older_reader() {
    let event: Event = from_value(json!({"seq": 1, "at_ms": 2, "type": "moon.rose", "phase": 3}))
        .expect("an unknown type is Other");
    assert_eq!(event.body, EventBody::Other);
    assert_eq!(
        from_value::<JobState>(json!("dreaming")).expect("Other"),
        JobState::Other
    );
    assert_eq!(
        from_value::<Role>(json!("emperor")).expect("None"),
        Role::None
    );
}

#[test]
fn roles_are_ordered() {
    assert!(
        Role::None < Role::Own
            && Role::Own < Role::Read
            && Role::Read < Role::Write
            && Role::Write < Role::Admin
    );
}

#[test]
fn details_are_a_listing_entry_with_more() {
    let wire = json!({"bucket": "films", "key": "k", "latest": true, "size_bytes": 1, "etag": "e",
        "modified_at_ms": 3, "urls": {"file": "/-/file/films/k"}});
    let details: ObjectDetails = from_value(wire.clone()).expect("parses");
    assert_eq!(details.object.key, "k");
    assert_eq!(to_value(&details).expect("serialises"), wire);
}

#[test]
fn the_last_page_has_no_cursor() {
    assert_eq!(
        to_value(Page::last(vec![1])).expect("serialises"),
        json!({"items": [1]})
    );
}

#[test]
fn a_problem_names_its_type() {
    let problem = Problem::new(404, "bucket_not_found", "No such bucket").hint("nebula mb films");
    let wire: Value = to_value(&problem).expect("serialises");
    assert_eq!(wire["type"], "about:blank");
    assert_eq!(wire["code"], "bucket_not_found");
    assert!(wire.get("detail").is_none());
    // Proxies answer with less.
    assert!(from_value::<Problem>(json!({"title": "Bad Gateway", "status": 502})).is_ok());
}

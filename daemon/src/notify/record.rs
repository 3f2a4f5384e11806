//! An event in the words of S3: the body of one POST.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::rule::{Change, Rule};
use crate::catalog::EventRow;
use crate::kernel::Millis;

/// What a key keeps in a record; a space becomes `+` (Amazon S3, event message structure).
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'*')
    .remove(b'/')
    .remove(b' ');
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

fn text<'a>(payload: &'a Value, name: &str) -> &'a str {
    payload
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn time(ms: Millis) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
    let time = time.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(TIME)
        .expect("every part of the format is there")
}

fn encoded(key: &str) -> String {
    utf8_percent_encode(key, KEPT).to_string().replace(' ', "+")
}

/// Orders the records of one key: hexadecimal, of one length, growing.
fn sequencer(seq: i64) -> String {
    format!("{seq:016X}")
}

/// One change as a rule tells it.
///
/// `EventName` and `Key` stand beside the records as well: so receivers written for MinIO find what they look for.
pub(super) fn of_change(
    row: &EventRow,
    payload: &Value,
    change: Change,
    rule: &Rule,
    (region, owner): (&str, &str),
) -> String {
    let bucket = row.bucket.as_deref().unwrap_or_default();
    let key = String::from_utf8_lossy(row.key.as_deref().unwrap_or_default());
    let mut object = json!({ "key": encoded(&key), "sequencer": sequencer(row.seq) });
    let members = object.as_object_mut().expect("written as an object above");
    if let Some(size) = payload.get("size_bytes") {
        members.insert("size".into(), size.clone());
        members.insert("eTag".into(), text(payload, "etag").into());
    }
    if let Some(version) = row
        .version_id
        .as_deref()
        .filter(|version| *version != "null")
    {
        members.insert("versionId".into(), version.into());
    }
    json!({
        "EventName": format!("s3:{}", change.as_str()),
        "Key": format!("{bucket}/{key}"),
        "Records": [{
            "eventVersion": "2.1",
            "eventSource": "nebula:s3",
            "awsRegion": region,
            "eventTime": time(row.time_ms),
            "eventName": change.as_str(),
            "userIdentity": { "principalId": text(payload, "owner") },
            "requestParameters": {},
            "responseElements": {},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": rule.id,
                "bucket": {
                    "name": bucket,
                    "ownerIdentity": { "principalId": owner },
                    "arn": format!("arn:aws:s3:::{bucket}"),
                },
                "object": object,
            },
        }],
    })
    .to_string()
}

/// What is sent when a configuration names a target.
pub(super) fn of_test(row: &EventRow) -> String {
    json!({
        "Service": "Nebula",
        "Event": "s3:TestEvent",
        "Time": time(row.time_ms),
        "Bucket": row.bucket.as_deref().unwrap_or_default(),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::super::rule::Form;
    use super::*;

    #[test]
    fn a_record_reads_as_s3_writes_it() {
        let row = EventRow {
            seq: 255,
            time_ms: 1_700_000_000_123,
            kind: "object.created".into(),
            bucket: Some("films".into()),
            key: Some("a b/ü+1.mp4".into()),
            version_id: Some("null".into()),
            payload: String::new(),
        };
        let rule = Rule {
            id: "mine".into(),
            form: Form::Queue,
            arn: String::new(),
            events: Vec::new(),
            prefix: None,
            suffix: None,
        };
        let payload = json!({ "size_bytes": 7, "etag": "abc", "owner": "NEBX" });
        let body = of_change(&row, &payload, Change::Copy, &rule, ("home-1", "maker"));
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["Key"], "films/a b/ü+1.mp4");
        let record = &body["Records"][0];
        assert_eq!(record["eventName"], "ObjectCreated:Copy");
        assert_eq!(record["eventTime"], "2023-11-14T22:13:20.123Z");
        assert_eq!(record["awsRegion"], "home-1");
        assert_eq!(record["s3"]["configurationId"], "mine");
        assert_eq!(record["userIdentity"]["principalId"], "NEBX");
        assert_eq!(
            record["s3"]["bucket"]["ownerIdentity"]["principalId"],
            "maker"
        );
        assert_eq!(record["s3"]["object"]["key"], "a+b/%C3%BC%2B1.mp4");
        assert_eq!(record["s3"]["object"]["size"], 7);
        assert_eq!(record["s3"]["object"]["sequencer"], "00000000000000FF");
        assert_eq!(record["s3"]["object"].get("versionId"), None);
        let gone = EventRow {
            version_id: Some("0a".into()),
            ..row
        };
        let body = of_change(
            &gone,
            &json!({}),
            Change::Marker,
            &rule,
            ("home-1", "maker"),
        );
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["EventName"], "s3:ObjectRemoved:DeleteMarkerCreated");
        assert_eq!(body["Records"][0]["s3"]["object"]["versionId"], "0a");
        assert_eq!(body["Records"][0]["s3"]["object"].get("size"), None);
    }
}

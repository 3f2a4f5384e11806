//! The OpenAPI document is what the table of operations and the types say.
//!
//! To accept a change of the contract: `NEBULA_ACCEPT=1 cargo test -p nebula-api --test openapi`, then read the difference.

use std::collections::BTreeSet;
use std::path::Path;

use nebula_api::contract::{Answer, DOCUMENT, OPERATIONS, Operation};
use nebula_api::{
    AccessKey, Asset, AssetsQuery, BeginDrain, Bucket, ClaimContent, CreateBucket, CreateKey,
    CreateLink, CreateSession, CreatedKey, CreatedSession, Discovery, Drain, Event, EventsQuery,
    Job, JobsQuery, LibraryItem, LibraryQuery, Link, ObjectDetails, ObjectPage, ObjectsQuery, Page,
    PageQuery, PatchBucket, PatchKey, PlayerQuery, Position, PositionsQuery, Problem, PutPosition,
    Session, Status, Stream, Upload, VersionQuery,
};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

const DESCRIPTION: &str = "\
Credentials are HTTP Basic with an access key and its secret, or a tailnet identity, which needs none.
A moment is an integer named `…_at_ms`, in milliseconds since 1970 UTC; sizes are named `…_bytes`.
An absent value is a missing member. New members, and new words where a word is one of several, may appear at any time: pass over what you do not know.
A list comes in pages: hand `next` back as `cursor`; without `next` it was the last page.
Keys in a path are percent-encoded, with slashes left as they are.
Objects are stored by S3 (every path outside `/-/`) or resumably by tus (`/-/tus/`), and read from `/-/file/`, `/-/hls/` and `/-/link/`; those doors speak their own protocols.";

/// Collects schemas under `#/components/schemas`.
struct Schemas {
    told: SchemaGenerator,
    heard: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = |told: bool| {
            let settings = SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            });
            if told {
                settings.for_serialize()
            } else {
                settings.for_deserialize()
            }
        };
        let mut schemas = Self {
            told: settings(true).into_generator(),
            heard: settings(false).into_generator(),
        };
        schemas.told::<Discovery>();
        schemas.told::<Status>();
        schemas.told::<Page<Bucket>>();
        schemas.told::<ObjectPage>();
        schemas.told::<ObjectDetails>();
        schemas.told::<Page<Asset>>();
        schemas.told::<Page<Job>>();
        schemas.told::<Page<AccessKey>>();
        schemas.told::<Page<Drain>>();
        schemas.heard::<BeginDrain>();
        schemas.told::<Page<Session>>();
        schemas.told::<CreatedKey>();
        schemas.told::<CreatedSession>();
        schemas.told::<Page<Link>>();
        schemas.told::<Page<Upload>>();
        schemas.told::<Page<LibraryItem>>();
        schemas.told::<Page<Position>>();
        schemas.told::<Page<Stream>>();
        schemas.told::<Event>();
        schemas.told::<Problem>();
        schemas.heard::<CreateBucket>();
        schemas.heard::<PatchBucket>();
        schemas.heard::<CreateKey>();
        schemas.heard::<PatchKey>();
        schemas.heard::<ClaimContent>();
        schemas.heard::<CreateLink>();
        schemas.heard::<CreateSession>();
        schemas.heard::<PageQuery>();
        schemas.heard::<ObjectsQuery>();
        schemas.heard::<VersionQuery>();
        schemas.heard::<AssetsQuery>();
        schemas.heard::<PlayerQuery>();
        schemas.heard::<LibraryQuery>();
        schemas.heard::<PositionsQuery>();
        schemas.heard::<PutPosition>();
        schemas.heard::<JobsQuery>();
        schemas.heard::<EventsQuery>();
        schemas
    }

    fn told<T: JsonSchema>(&mut self) {
        self.told.subschema_for::<T>();
    }

    fn heard<T: JsonSchema>(&mut self) {
        self.heard.subschema_for::<T>();
    }

    fn take(mut self) -> Map<String, Value> {
        let mut all = self.told.take_definitions(true);
        for (name, schema) in self.heard.take_definitions(true) {
            if let Some(known) = all.get(&name) {
                assert_eq!(
                    *known, schema,
                    "{name} is told and heard in different shapes"
                );
            }
            all.insert(name, schema);
        }
        for schema in all.values_mut() {
            absent_is_missing(schema);
        }
        all.sort_keys();
        all
    }
}

/// A value that may be absent is described without `null`: the daemon leaves the member out.
fn absent_is_missing(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            let kinds = members.get("type").and_then(Value::as_array);
            let left: Option<Vec<Value>> = kinds.map(|kinds| {
                kinds
                    .iter()
                    .filter(|kind| *kind != "null")
                    .cloned()
                    .collect()
            });
            if let Some([one]) = left.as_deref() {
                members.insert("type".into(), one.clone());
            }
            let choices = members.get("anyOf").and_then(Value::as_array);
            let left: Option<Vec<Value>> = choices.map(|choices| {
                let null = json!({ "type": "null" });
                choices
                    .iter()
                    .filter(|choice| **choice != null)
                    .cloned()
                    .collect()
            });
            if let Some([one]) = left.as_deref()
                && let Some(reference) = one.get("$ref")
            {
                members.remove("anyOf");
                members.insert("$ref".into(), reference.clone());
            }
            if members.get("default").is_some_and(Value::is_null) {
                members.remove("default");
            }
            members.values_mut().for_each(absent_is_missing);
        }
        Value::Array(items) => items.iter_mut().for_each(absent_is_missing),
        _ => {}
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn content(media_type: &str, schema: &Value) -> Value {
    let mut content = Map::new();
    content.insert(media_type.into(), json!({ "schema": schema }));
    Value::Object(content)
}

fn answer(operation: &Operation) -> (&'static str, Value) {
    let bytes = json!({ "type": "string", "format": "binary" });
    match operation.answer {
        Answer::Json(name) => (
            "200",
            json!({ "description": "Done.", "content": content("application/json", &reference(name)) }),
        ),
        Answer::Created(name) => (
            "201",
            json!({ "description": "Made.", "content": content("application/json", &reference(name)) }),
        ),
        Answer::Empty => ("204", json!({ "description": "Done." })),
        Answer::Events(name) => (
            "200",
            json!({
                "description": format!("Each event has `id` (its sequence number), `event` (its type) and `data` (a JSON {name} on one line)."),
                "content": content("text/event-stream", &reference(name)),
            }),
        ),
        Answer::Bytes("application/json") => (
            "200",
            json!({ "description": "Done.", "content": content("application/json", &json!({ "type": "object" })) }),
        ),
        Answer::Bytes("text/plain") => (
            "200",
            json!({ "description": "Done.", "content": content("text/plain", &json!({ "type": "string" })) }),
        ),
        Answer::Bytes(media_type) => (
            "200",
            json!({ "description": "Done.", "content": content(media_type, &bytes) }),
        ),
    }
}

fn responses(operation: &Operation) -> Value {
    let mut responses = Map::new();
    let (status, success) = answer(operation);
    responses.insert(status.into(), success);
    let problem = content("application/problem+json", &reference("Problem"));
    let mut refusals: Vec<(u16, &str)> = operation.refusals.to_vec();
    if !operation.open {
        refusals.extend([(401, "unauthenticated"), (403, "forbidden")]);
    }
    if !operation.query.is_empty() || !operation.body.is_empty() {
        refusals.push((400, "invalid_request"));
    }
    refusals.sort_unstable();
    for (status, _) in &refusals {
        let codes: Vec<String> = refusals
            .iter()
            .filter(|(other, _)| other == status)
            .map(|(_, code)| format!("`{code}`"))
            .collect();
        responses.insert(
            status.to_string(),
            json!({ "description": codes.join(", "), "content": problem }),
        );
    }
    responses.insert(
        "default".into(),
        json!({ "description": "Any other refusal or failure.", "content": problem }),
    );
    Value::Object(responses)
}

fn parameters(operation: &Operation, schemas: &Map<String, Value>) -> Vec<Value> {
    let mut parameters = Vec::new();
    for segment in operation.path.split('/') {
        if let Some(name) = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
            parameters.push(json!({
                "name": name.trim_start_matches('*'),
                "in": "path",
                "required": true,
                "schema": { "type": "string" },
            }));
        }
    }
    if !operation.query.is_empty() {
        let schema = &schemas[operation.query];
        let members = schema["properties"].as_object();
        for (name, schema) in members.expect("a query is a set of members") {
            let mut schema = schema.clone();
            let description = schema.as_object_mut().and_then(|s| s.remove("description"));
            parameters.push(json!({
                "name": name,
                "in": "query",
                "description": description,
                "schema": schema,
            }));
        }
    }
    if matches!(operation.answer, Answer::Events(_)) {
        parameters.push(json!({
            "name": "Last-Event-ID",
            "in": "header",
            "description": "Replay what came after this sequence number.",
            "schema": { "type": "integer" },
        }));
    }
    parameters
}

fn document() -> Value {
    let schemas = Schemas::new().take();
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let mut entry = json!({
            "operationId": operation.id,
            "summary": operation.summary,
            "responses": responses(operation),
        });
        let parameters = parameters(operation, &schemas);
        if !parameters.is_empty() {
            entry["parameters"] = parameters.into();
        }
        if !operation.body.is_empty() {
            let body = content("application/json", &reference(operation.body));
            entry["requestBody"] = json!({ "required": true, "content": body });
        }
        if operation.open {
            entry["security"] = json!([]);
        }
        let path = operation.path.replace("{*", "{");
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods[operation.method.to_lowercase()] = entry;
    }
    // What only names query parameters is told there.
    let queries: BTreeSet<&str> = OPERATIONS.iter().map(|operation| operation.query).collect();
    let shown = schemas
        .into_iter()
        .filter(|(name, _)| !queries.contains(name.as_str()));
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Nebula", "version": "1", "description": DESCRIPTION, "license": { "name": "MIT OR Apache-2.0" } },
        "security": [{ "accessKey": [] }, {}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "accessKey": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "Access key id and secret. A request from the tailnet needs none.",
                },
            },
            "schemas": shown.collect::<Map<String, Value>>(),
        },
    })
}

#[test]
fn the_document_is_what_the_table_and_the_types_say() {
    let mut fresh = serde_json::to_string_pretty(&document()).expect("a document is plain data");
    fresh.push('\n');
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    if std::env::var_os("NEBULA_ACCEPT").is_some() {
        std::fs::write(&file, &fresh).expect("the document can be written");
        return;
    }
    if fresh == DOCUMENT {
        return;
    }
    let (old, new): (Vec<_>, Vec<_>) = (DOCUMENT.lines().collect(), fresh.lines().collect());
    let at = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    panic!(
        "the contract has changed; the document differs from line {}:\n  there: {}\n  now:   {}\n\
         If that is meant, accept it and read the difference:\n  \
         NEBULA_ACCEPT=1 cargo test -p nebula-api --test openapi && git diff daemon/api/openapi.json",
        at + 1,
        old.get(at).unwrap_or(&"(end)"),
        new.get(at).unwrap_or(&"(end)"),
    );
}

#[test]
fn every_reference_leads_somewhere() {
    let document: Value = serde_json::from_str(DOCUMENT).expect("the document is JSON");
    let mut open = vec![&document];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(members) => {
                if let Some(target) = members.get("$ref").and_then(Value::as_str) {
                    let pointer = target.trim_start_matches('#');
                    assert!(document.pointer(pointer).is_some(), "{target}");
                }
                open.extend(members.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
}

#[test]
fn every_address_of_the_api_has_an_operation() {
    // The constants are read from their source: one that nobody added to the table is found.
    let source = include_str!("../src/routes.rs");
    let mut found = 0;
    for line in source.lines() {
        let Some((_, value)) = line.split_once(": &str = \"/-/api/v1/") else {
            continue;
        };
        let path = format!("/-/api/v1/{}", value.trim_end_matches("\";"));
        found += 1;
        assert!(
            OPERATIONS.iter().any(|operation| operation.path == path),
            "{path} is an address of the API and has no line in `contract::OPERATIONS`"
        );
    }
    assert!(found > 10, "the addresses were not found in their source");
    let ids: BTreeSet<&str> = OPERATIONS.iter().map(|operation| operation.id).collect();
    assert_eq!(ids.len(), OPERATIONS.len(), "two operations share a name");
}

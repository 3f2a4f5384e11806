//! Many writers at once, as lock files and table formats have them: a condition is decided once, for exactly one.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;

use super::clients::run;
use super::sdk::{body, house, put, refused};
use super::server::Server;

const LOCK: &str = "state.tflock";
const STATE: &str = "state";

/// Takes the lock; its entity tag, or `None` when another holds it.
async fn lock(client: &Client, who: usize) -> Option<String> {
    let sent = client
        .put_object()
        .bucket("films")
        .key(LOCK)
        .if_none_match("*");
    let sent = sent
        .body(ByteStream::from(format!("{who}").into_bytes()))
        .send()
        .await;
    match sent {
        Ok(sent) => Some(sent.e_tag.unwrap()),
        refusal => {
            let (code, status) = refused(refusal);
            assert!(
                matches!(
                    (code.as_str(), status),
                    ("PreconditionFailed", 412) | ("ConditionalRequestConflict", 409)
                ),
                "{code}"
            );
            None
        }
    }
}

#[tokio::test]
async fn of_many_who_create_an_object_exactly_one_wins() {
    let (_server, client) = house().await;
    for _ in 0..5 {
        let tries = (0..16).map(|who| lock(&client, who));
        let won = futures::future::join_all(tries)
            .await
            .into_iter()
            .flatten()
            .count();
        assert_eq!(won, 1);
        client
            .delete_object()
            .bucket("films")
            .key(LOCK)
            .send()
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_lock_file_guards_a_counter_of_many_writers() {
    const WRITERS: usize = 8;
    const ROUNDS: usize = 5;
    let (_server, client) = house().await;
    put(&client, STATE, "0").await;
    let write = |who: usize| {
        let client = client.clone();
        async move {
            for _ in 0..ROUNDS {
                let held = loop {
                    if let Some(held) = lock(&client, who).await {
                        break held;
                    }
                };
                // Read, add, write: lost at once if two were here.
                let count: usize = std::str::from_utf8(&body(&client, STATE).await)
                    .unwrap()
                    .parse()
                    .unwrap();
                put(&client, STATE, (count + 1).to_string()).await;
                let delete = client.delete_object().bucket("films").key(LOCK);
                delete
                    .clone()
                    .if_match("\"00000000000000000000000000000000\"")
                    .send()
                    .await
                    .unwrap_err();
                delete.if_match(held).send().await.unwrap();
            }
        }
    };
    futures::future::join_all((0..WRITERS).map(write)).await;
    assert_eq!(body(&client, STATE).await, (WRITERS * ROUNDS).to_string());
    assert!(lock(&client, 0).await.is_some(), "the lock is free");
}

#[tokio::test]
async fn of_many_who_replace_the_same_version_exactly_one_wins() {
    let (_server, client) = house().await;
    put(&client, STATE, "before").await;
    let head = client
        .head_object()
        .bucket("films")
        .key(STATE)
        .send()
        .await
        .unwrap();
    let tag = head.e_tag().unwrap();
    let tries = (0..16).map(|who| {
        let body = ByteStream::from(format!("by {who}").into_bytes());
        client
            .put_object()
            .bucket("films")
            .key(STATE)
            .if_match(tag)
            .body(body)
            .send()
    });
    let won = futures::future::join_all(tries).await;
    let won = won.into_iter().flatten().count();
    assert_eq!(won, 1);
}

/// Each thread appends rows of its own; a commit that another came before is tried again by the library.
const APPENDS: &str = r#"
import os, sys
try:
    import deltalake, arro3.core
except ImportError:
    print("absent"); sys.exit(0)
from concurrent.futures import ThreadPoolExecutor
from deltalake import CommitProperties, DeltaTable, write_deltalake
from arro3.core import Array, DataType, Table
options = {
    "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"], "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": os.environ["AWS_ACCESS_KEY_ID"], "AWS_SECRET_ACCESS_KEY": os.environ["AWS_SECRET_ACCESS_KEY"],
    "aws_conditional_put": "etag",
}
place, writers, rounds = "s3://films/table", 6, 4
def rows(values):
    return Table({"n": Array(values, DataType.int64())})
write_deltalake(place, rows([-1]), storage_options=options)
def work(writer):
    for n in range(rounds):
        write_deltalake(place, rows([writer * rounds + n]), mode="append", storage_options=options,
                        commit_properties=CommitProperties(max_commit_retries=100))
with ThreadPoolExecutor(writers) as pool:
    list(pool.map(work, range(writers)))
table = DeltaTable(place, storage_options=options)
assert table.version() == writers * rounds, table.version()
assert len(table.history()) == writers * rounds + 1
assert len(table.file_uris()) == writers * rounds + 1
found = table.get_add_actions(flatten=True)
print("versions", table.version(), "files", len(table.file_uris()))
"#;

#[tokio::test]
async fn concurrent_appends_to_a_delta_table_are_all_there() {
    let server = Server::start().await;
    let home = tempfile::tempdir().unwrap();
    server
        .client()
        .create_bucket()
        .bucket("films")
        .send()
        .await
        .unwrap();
    let said = run("python3", &["-c", APPENDS], home.path(), &server.endpoint).await;
    match said.as_deref().map(str::trim) {
        None | Some("absent") => println!("SKIPPED: deltalake is not installed"),
        Some(said) => assert_eq!(said, "versions 24 files 25"),
    }
}

//! boto3, the library of most programs that speak S3: a story in its own language.

use super::clients::run;
use super::server::Server;

/// Every chapter ends with its name on a line of its own.
const CHAPTERS: [&str; 8] = [
    "conditional_writes",
    "checksums",
    "multipart",
    "presigned",
    "paginators",
    "versions",
    "customers_key",
    "temporary_key",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_python_program_finds_everything_that_it_knows_of_s3() {
    let server = Server::start().await;
    let home = tempfile::tempdir().unwrap();
    let there = [
        "-c",
        "try:\n import boto3\n print('there')\nexcept ImportError: pass",
    ];
    let there = run("python3", &there, home.path(), &server.endpoint).await;
    if there.is_none_or(|said| said.is_empty()) {
        println!("SKIPPED: boto3 is not installed");
        return;
    }
    let story = include_str!("boto.py");
    let said = run("python3", &["-c", story], home.path(), &server.endpoint).await;
    let told: Vec<String> = said.unwrap().lines().map(str::to_owned).collect();
    assert_eq!(told, CHAPTERS);
}

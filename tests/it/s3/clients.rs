//! awscli and rclone, where they are installed.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::server::{ACCESS_KEY, SECRET_KEY, Server};

/// A client and what it is told of the server by its environment.
pub(super) fn surroundings(program: &str, home: &Path, endpoint: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("HOME", home)
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("RCLONE_CONFIG", home.join("rclone.conf"))
        .env("RCLONE_CONFIG_N_TYPE", "s3")
        .env("RCLONE_CONFIG_N_PROVIDER", "Other")
        .env("RCLONE_CONFIG_N_ENDPOINT", endpoint)
        .env("RCLONE_CONFIG_N_ACCESS_KEY_ID", ACCESS_KEY)
        .env("RCLONE_CONFIG_N_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("RCLONE_CONFIG_N_REGION", "us-east-1")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs a client; `None` when it is not installed.
pub(super) async fn run(
    program: &str,
    arguments: &[&str],
    home: &Path,
    endpoint: &str,
) -> Option<String> {
    let mut command = surroundings(program, home, endpoint);
    command.args(arguments);
    let output = match command.output().await {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("{program}: {error}"),
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{text}\n{errors}",
        output.status
    );
    Some(text)
}

/// The files of [`folder`].
pub(super) const FILES: [&str; 4] = ["empty", "small ü.txt", "sub dir/edge", "sub dir/large"];

/// A folder with files of every interesting size.
pub(super) fn folder(dir: &Path) {
    std::fs::create_dir_all(dir.join("sub dir")).unwrap();
    for (name, size) in [
        ("empty", 0),
        ("small ü.txt", 100),
        ("sub dir/edge", 16 * 1024 + 1),
        ("sub dir/large", 20_000_000),
    ] {
        let mut bytes = vec![0; size];
        getrandom::fill(&mut bytes).unwrap();
        std::fs::write(dir.join(name), bytes).unwrap();
    }
}

pub(super) fn same(a: &Path, b: &Path) {
    for name in FILES {
        assert_eq!(
            std::fs::read(a.join(name)).unwrap(),
            std::fs::read(b.join(name)).unwrap(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn awscli_syncs_a_folder_there_and_back() {
    let server = Server::start().await;
    let home = tempfile::tempdir().unwrap();
    let (from, to) = (home.path().join("from"), home.path().join("to"));
    folder(&from);
    let aws = |arguments: Vec<&'static str>| {
        let (home, endpoint) = (home.path(), server.endpoint.as_str());
        async move { run("aws", &arguments, home, endpoint).await }
    };
    if aws(vec!["--version"]).await.is_none() {
        println!("SKIPPED: awscli is not installed");
        return;
    }
    let (from_text, to_text) = (
        from.to_string_lossy().into_owned(),
        to.to_string_lossy().into_owned(),
    );
    aws(vec!["s3", "mb", "s3://films"]).await;
    run(
        "aws",
        &["s3", "sync", &from_text, "s3://films/x/"],
        home.path(),
        &server.endpoint,
    )
    .await;
    let listed = aws(vec!["s3", "ls", "--recursive", "s3://films"])
        .await
        .unwrap();
    assert_eq!(listed.lines().count(), 4, "{listed}");
    aws(vec![
        "s3",
        "cp",
        "s3://films/x/sub dir/large",
        "s3://films/copy",
    ])
    .await;
    aws(vec!["s3", "mv", "s3://films/copy", "s3://films/moved"]).await;
    run(
        "aws",
        &["s3", "sync", "s3://films/x/", &to_text],
        home.path(),
        &server.endpoint,
    )
    .await;
    same(&from, &to);
    aws(vec!["s3", "rb", "--force", "s3://films"]).await;
}

#[tokio::test]
async fn rclone_copies_checks_and_deletes() {
    let server = Server::start().await;
    let home = tempfile::tempdir().unwrap();
    let (from, to) = (home.path().join("from"), home.path().join("to"));
    folder(&from);
    let (from_text, to_text) = (
        from.to_string_lossy().into_owned(),
        to.to_string_lossy().into_owned(),
    );
    let rclone = |arguments: Vec<String>| {
        let (home, endpoint) = (home.path(), server.endpoint.as_str());
        async move {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            run("rclone", &arguments, home, endpoint).await
        }
    };
    let words = |text: &[&str]| {
        text.iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    if rclone(words(&["version"])).await.is_none() {
        println!("SKIPPED: rclone is not installed");
        return;
    }
    rclone(words(&["mkdir", "n:films"])).await;
    rclone(words(&[
        "copy",
        "--s3-upload-cutoff",
        "6M",
        "--s3-chunk-size",
        "6M",
        &from_text,
        "n:films/x",
    ]))
    .await;
    rclone(words(&["check", &from_text, "n:films/x"])).await;
    rclone(words(&[
        "copyto",
        "n:films/x/sub dir/large",
        "n:films/copy",
    ]))
    .await;
    rclone(words(&["sync", "n:films/x", &to_text])).await;
    same(&from, &to);
    rclone(words(&["purge", "n:films"])).await;
}

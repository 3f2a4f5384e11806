//! restic and s3cmd, where they are installed: what people copy their things away with.

use super::clients::{folder, run, same};
use super::server::{ACCESS_KEY, SECRET_KEY, Server};

#[tokio::test]
async fn restic_backs_up_prunes_checks_and_restores() {
    let server = Server::start().await;
    let home = tempfile::tempdir().unwrap();
    let (from, to) = (home.path().join("from"), home.path().join("to"));
    folder(&from);
    let secret = home.path().join("password");
    std::fs::write(&secret, "correct horse").unwrap();
    let repository = format!("s3:{}/backups/laptop", server.endpoint);
    let [from_text, to_text, secret] =
        [&from, &to, &secret].map(|path| path.to_string_lossy().into_owned());
    let restic = |words: &'static str, path: Option<String>| {
        let mut arguments = vec![
            "--repo",
            &repository,
            "--password-file",
            &secret,
            "--no-cache",
        ];
        arguments.extend(words.split(' '));
        let path = path.unwrap_or_default();
        let arguments: Vec<String> = arguments
            .into_iter()
            .chain((!path.is_empty()).then_some(path.as_str()))
            .map(str::to_owned)
            .collect();
        let (home, endpoint) = (home.path(), server.endpoint.as_str());
        async move {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            run("restic", &arguments, home, endpoint).await
        }
    };
    if restic("version", None).await.is_none() {
        println!("SKIPPED: restic is not installed");
        return;
    }
    restic("init", None).await;
    std::fs::write(from.join("gone"), vec![7; 3_000_000]).unwrap();
    restic("backup", Some(from_text.clone())).await;
    std::fs::remove_file(from.join("gone")).unwrap();
    restic("backup", Some(from_text.clone())).await;
    restic("forget --keep-last 1 --prune", None).await;
    restic("check --read-data", None).await;
    let snapshots = restic("snapshots --json", None).await.unwrap();
    assert_eq!(snapshots.matches("\"short_id\"").count(), 1, "{snapshots}");
    restic("restore latest --target", Some(to_text)).await;
    // It restores under the whole path that it saved.
    let restored = to.join(from.strip_prefix("/").unwrap());
    same(&from, &restored);
    assert!(!restored.join("gone").exists());
}

#[tokio::test]
async fn s3cmd_puts_lists_syncs_copies_and_removes() {
    let server = Server::start().await;
    let home = tempfile::tempdir().unwrap();
    let (from, to) = (home.path().join("from"), home.path().join("to"));
    folder(&from);
    std::fs::create_dir(&to).unwrap();
    let host = server.endpoint.strip_prefix("http://").unwrap();
    // Without `%(bucket)s` in the second, path style.
    let settings = format!(
        "[default]\naccess_key = {ACCESS_KEY}\nsecret_key = {SECRET_KEY}\nhost_base = {host}\nhost_bucket = {host}\n\
         use_https = False\nmultipart_chunk_size_mb = 6\n"
    );
    let file = home.path().join("s3cfg");
    std::fs::write(&file, settings).unwrap();
    let s3cmd = |arguments: &[&str]| {
        let arguments: Vec<String> = ["--config", &file.to_string_lossy(), "--no-progress"]
            .iter()
            .chain(arguments)
            .map(|word| (*word).to_owned())
            .collect();
        let (home, endpoint) = (home.path(), server.endpoint.as_str());
        async move {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            run("s3cmd", &arguments, home, endpoint).await
        }
    };
    if s3cmd(&["--version"]).await.is_none() {
        println!("SKIPPED: s3cmd is not installed");
        return;
    }
    s3cmd(&["mb", "s3://films"]).await;
    s3cmd(&["sync", &format!("{}/", from.display()), "s3://films/x/"]).await;
    let listed = s3cmd(&["ls", "--recursive", "s3://films"]).await.unwrap();
    assert_eq!(listed.lines().count(), 4, "{listed}");
    let about = s3cmd(&["info", "s3://films/x/sub dir/large"])
        .await
        .unwrap();
    assert!(about.contains("20000000"), "{about}");
    s3cmd(&["cp", "s3://films/x/sub dir/large", "s3://films/copy"]).await;
    s3cmd(&["mv", "s3://films/copy", "s3://films/moved"]).await;
    s3cmd(&["sync", "s3://films/x/", &format!("{}/", to.display())]).await;
    same(&from, &to);
    s3cmd(&["del", "--recursive", "--force", "s3://films"]).await;
    s3cmd(&["rb", "s3://films"]).await;
    assert!(server.store.buckets().await.unwrap().is_empty());
}

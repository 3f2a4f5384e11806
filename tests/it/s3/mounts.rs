//! Buckets as file systems, where the kernel lets us mount one: s3fs and rclone mount.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use nebula_tests::wait;
use tokio::process::{Child, Command};

use super::clients::{FILES, folder, same, surroundings};
use super::server::{ACCESS_KEY, SECRET_KEY, Server};

/// A mounted bucket; unmounted on drop.
struct Mounted {
    at: PathBuf,
    child: Child,
}

impl Mounted {
    /// Runs a program that mounts in the foreground; `Err` says why it cannot be done here.
    async fn by(mut command: Command, at: &Path) -> Result<Self, String> {
        if !Path::new("/dev/fuse").exists() {
            return Err("there is no /dev/fuse".into());
        }
        std::fs::create_dir_all(at).unwrap();
        let program = command
            .as_std()
            .get_program()
            .to_string_lossy()
            .into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(format!("{program} is not installed"));
            }
            Err(error) => panic!("{program}: {error}"),
        };
        let mut ended = false;
        wait::until_async("the bucket is mounted", async || {
            ended = child.try_wait().unwrap().is_some();
            ended || is_mounted(at)
        })
        .await;
        if ended {
            let said = child.wait_with_output().await.unwrap().stderr;
            let said = String::from_utf8_lossy(&said).into_owned();
            // What the kernel or the container forbids is no fault of ours; anything else is.
            let forbidden = [
                "ermission denied",
                "not permitted",
                "fuse: device",
                "fusermount",
            ]
            .iter()
            .any(|word| said.contains(word));
            assert!(forbidden, "{program}: {said}");
            return Err(format!("{program} may not mount here"));
        }
        Ok(Self {
            at: at.to_owned(),
            child,
        })
    }

    /// Unmounts, which writes what is still to be written, and waits for the end of the program.
    async fn end(mut self) {
        assert!(unmount(&self.at), "{} can be unmounted", self.at.display());
        assert!(self.child.wait().await.unwrap().success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if is_mounted(&self.at) {
            unmount(&self.at);
        }
    }
}

fn is_mounted(at: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts
        .lines()
        .any(|line| line.split(' ').nth(4) == at.to_str())
}

fn unmount(at: &Path) -> bool {
    ["fusermount3", "fusermount"].into_iter().any(|program| {
        let status = std::process::Command::new(program)
            .arg("-u")
            .arg(at)
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    })
}

/// What a person does in a mounted folder, checked through the door.
async fn use_it(server: &Server, mounted: Mounted, from: &Path) {
    let inside = mounted.at.join("x");
    let (source, target) = (from.to_owned(), inside.clone());
    tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(target.join("sub dir")).unwrap();
        for name in FILES {
            std::fs::copy(source.join(name), target.join(name)).unwrap();
        }
        same(&source, &target);
        std::fs::rename(target.join("small ü.txt"), target.join("renamed")).unwrap();
        std::fs::rename(target.join("renamed"), target.join("small ü.txt")).unwrap();
        std::fs::write(target.join("passing"), "x").unwrap();
        std::fs::remove_file(target.join("passing")).unwrap();
    })
    .await
    .unwrap();
    mounted.end().await;
    let client = server.client();
    for name in FILES {
        let stored = super::sdk::body(&client, &format!("x/{name}")).await;
        assert!(
            stored == std::fs::read(from.join(name)).unwrap(),
            "{name} differs"
        );
    }
    let gone = client
        .head_object()
        .bucket("films")
        .key("x/passing")
        .send()
        .await;
    assert_eq!(super::sdk::refused(gone).1, 404);
}

/// A server with a bucket, and a folder to be mounted into with files to be copied.
async fn house() -> (Server, tempfile::TempDir) {
    let server = Server::start().await;
    let bucket = server.client().create_bucket().bucket("films");
    bucket.send().await.unwrap();
    let home = tempfile::tempdir().unwrap();
    folder(&home.path().join("from"));
    (server, home)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3fs_mounts_a_bucket() {
    let (server, home) = house().await;
    let (from, at) = (home.path().join("from"), home.path().join("mounted"));
    let mut command = surroundings("s3fs", home.path(), &server.endpoint);
    command
        .env("AWSACCESSKEYID", ACCESS_KEY)
        .env("AWSSECRETACCESSKEY", SECRET_KEY);
    let options = format!(
        "url={},use_path_request_style,endpoint=us-east-1,multipart_size=6,retries=1",
        server.endpoint
    );
    command.arg("films").arg(&at).args(["-f", "-o", &options]);
    match Mounted::by(command, &at).await {
        Ok(mounted) => use_it(&server, mounted, &from).await,
        Err(why) => println!("SKIPPED: {why}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rclone_mounts_a_bucket() {
    let (server, home) = house().await;
    let (from, at) = (home.path().join("from"), home.path().join("mounted"));
    let mut command = surroundings("rclone", home.path(), &server.endpoint);
    command.args(["mount", "n:films"]).arg(&at).args([
        "--vfs-cache-mode",
        "writes",
        "--vfs-write-back",
        "0s",
        "--dir-cache-time",
        "0s",
    ]);
    match Mounted::by(command, &at).await {
        Ok(mounted) => use_it(&server, mounted, &from).await,
        Err(why) => println!("SKIPPED: {why}"),
    }
}

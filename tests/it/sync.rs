//! `nebula sync` both ways and `nebula push --watch`, with the real daemon.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use nebula_tests::{Appliance, Cli, Seed, wait, within};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

/// For one test.
const LIMIT: Duration = Duration::from_mins(1);

async fn stage() -> (Appliance, Cli) {
    let appliance = Appliance::start().await;
    let cli = appliance.cli();
    cli.login().await;
    cli.ok(&["mb", "films", "--versioning"]).await;
    (appliance, cli)
}

fn write(folder: &Path, name: &str, content: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Sets a modification time, so many seconds from now.
fn touch(path: &Path, seconds: i64) {
    let by = Duration::from_secs(seconds.unsigned_abs());
    let now = SystemTime::now();
    let then = if seconds < 0 { now - by } else { now + by };
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(then).unwrap();
}

/// The events of a kind, `name` and `reason` of each.
fn of(events: &[Value], kind: &str) -> Vec<(String, String)> {
    let of = events.iter().filter(|event| event["type"] == kind);
    let word = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
    let mut of: Vec<_> = of
        .map(|event| (word(event, "name"), word(event, "reason")))
        .collect();
    of.sort();
    of
}

fn total(events: &[Value]) -> &Value {
    let total = events.last().unwrap();
    assert_eq!(total["type"], "total", "{total}");
    total
}

async fn keys(appliance: &Appliance) -> Vec<String> {
    let page = appliance.client();
    let page = page.objects("films", &Default::default()).await.unwrap();
    page.items.into_iter().map(|object| object.key).collect()
}

fn pair(name: &str, reason: &str) -> (String, String) {
    (name.to_owned(), reason.to_owned())
}

#[tokio::test]
async fn a_bucket_becomes_like_a_folder() {
    within(LIMIT, async {
        let (appliance, cli) = stage().await;
        let folder = cli.at("photos");
        for (name, content) in [("a.jpg", "aaaa"), ("2024/b.jpg", "bbbb"), ("c.tmp", "c")] {
            write(&folder, name, content);
            touch(&folder.join(name), -3600);
        }
        let sync = ["sync", "photos", "films:my", "--exclude", "*.tmp"];
        let events = cli.json(&[&sync[..], &["--dry-run"]].concat()).await;
        assert_eq!(of(&events, "plan").len(), 2, "{events:?}");
        assert!(keys(&appliance).await.is_empty(), "a dry run does nothing");
        let events = cli.json(&sync).await;
        let new = [pair("2024/b.jpg", "new"), pair("a.jpg", "new")];
        assert_eq!(of(&events, "sent"), new);
        assert_eq!(total(&events)["wire_bytes"], 8);
        assert_eq!(keys(&appliance).await, ["my/2024/b.jpg", "my/a.jpg"]);
        let events = cli.json(&sync).await;
        let told = total(&events);
        assert_eq!((&told["planned"], &told["same"]), (&json!(0), &json!(2)));
        assert_eq!(told["compared_by"], "size and time");

        // Same size and newer; another size; same size, older, other content.
        write(&folder, "a.jpg", "AAAA");
        touch(&folder.join("a.jpg"), 60);
        write(&folder, "2024/b.jpg", "longer");
        assert_eq!(
            of(&cli.json(&sync).await, "sent"),
            [pair("2024/b.jpg", "other size"), pair("a.jpg", "newer")]
        );
        write(&folder, "a.jpg", "XXXX");
        touch(&folder.join("a.jpg"), -7200);
        assert!(of(&cli.json(&sync).await, "sent").is_empty());
        let events = cli.json(&[&sync[..], &["--checksum"]].concat()).await;
        assert_eq!(of(&events, "sent"), [pair("a.jpg", "other content")]);
        assert_eq!(total(&events)["compared_by"], "size and BLAKE3");

        // What is excluded is not deleted either; nothing is without being asked.
        write(&cli.at("other"), "x.tmp", "x");
        cli.ok(&["push", "other/", "films:my"]).await;
        fs::remove_file(folder.join("2024/b.jpg")).unwrap();
        assert_eq!(total(&cli.json(&sync).await)["deleted"], 0);
        let events = cli.json(&[&sync[..], &["--delete"]].concat()).await;
        assert_eq!(of(&events, "deleted"), [pair("2024/b.jpg", "")]);
        assert_eq!(keys(&appliance).await, ["my/a.jpg", "my/x.tmp"]);

        // A source that is missing or empty empties nothing.
        let moved = cli.at("moved");
        fs::rename(&folder, &moved).unwrap();
        let gone = cli.run(&["sync", "photos", "films:my", "--delete"]).await;
        assert_eq!(gone.code, Some(1), "{gone:?}");
        fs::create_dir(&folder).unwrap();
        let empty = cli.run(&["sync", "photos", "films:my", "--delete"]).await;
        assert_eq!(empty.code, Some(2), "{empty:?}");
        assert!(empty.stderr.contains("The source is empty"), "{empty:?}");
        assert_eq!(keys(&appliance).await.len(), 2);
        let force = ["sync", "photos", "films:my", "--delete", "--force"];
        assert_eq!(total(&cli.json(&force).await)["deleted"], 2);
    })
    .await;
}

#[tokio::test]
async fn a_folder_becomes_like_a_bucket() {
    within(LIMIT, async {
        let (_appliance, cli) = stage().await;
        for (name, content) in [("a.jpg", "aaaa"), ("2024/b.jpg", "bbbb")] {
            write(&cli.at("photos"), name, content);
        }
        cli.ok(&["push", "photos/", "films:my"]).await;
        let sync = ["sync", "films:my/", "back"];
        let events = cli.json(&sync).await;
        assert_eq!(of(&events, "fetched").len(), 2, "{events:?}");
        let back = cli.at("back");
        let read = |name: &str| fs::read_to_string(back.join(name)).unwrap();
        assert_eq!(
            (read("a.jpg"), read("2024/b.jpg")),
            ("aaaa".into(), "bbbb".into())
        );
        assert_eq!(total(&cli.json(&sync).await)["same"], 2);

        write(&back, "a.jpg", "shorter or longer");
        write(&back, "2024/deep/extra.jpg", "x");
        let events = cli.json(&sync).await;
        assert_eq!(of(&events, "fetched"), [pair("a.jpg", "other size")]);
        assert_eq!(read("a.jpg"), "aaaa");
        assert_eq!(read("2024/deep/extra.jpg"), "x");
        let events = cli.json(&[&sync[..], &["--delete"]].concat()).await;
        assert_eq!(of(&events, "deleted"), [pair("2024/deep/extra.jpg", "")]);
        assert!(!back.join("2024/deep").exists(), "nor its empty folder");
        assert!(back.join("2024/b.jpg").exists());

        // The copy's own change is older than nothing: only hashes see it.
        write(&back, "a.jpg", "AAAA");
        assert_eq!(total(&cli.json(&sync).await)["same"], 2);
        let events = cli.json(&[&sync[..], &["--checksum"]].concat()).await;
        assert_eq!(of(&events, "fetched"), [pair("a.jpg", "other content")]);
        let nothing = cli.run(&["sync", "films:none", "back", "--delete"]).await;
        assert_eq!(nothing.code, Some(2), "{nothing:?}");
        assert_eq!(read("a.jpg"), "aaaa");
    })
    .await;
}

/// A watching command and what it says.
struct Watching {
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Watching {
    fn begin(cli: &Cli) -> Self {
        let watch = [
            "push",
            "--watch",
            "--settle",
            "1s",
            "in",
            "films:arrived",
            "--json",
        ];
        let mut process = cli.command(&watch).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, said }
    }

    async fn next(&mut self) -> Value {
        let line = self.said.next_line().await.unwrap();
        serde_json::from_str(&line.expect("it goes on")).unwrap()
    }
}

#[tokio::test]
async fn a_watched_folder_is_sent_once_its_files_have_settled() {
    within(LIMIT, async {
        use std::io::Write as _;
        let (appliance, cli) = stage().await;
        let folder = cli.at("in");
        write(&folder, "before.bin", "was here before");
        let mut watching = Watching::begin(&cli);
        assert_eq!(watching.next().await["sent_before"], 0);
        // Still open for writing while another that is younger settles.
        let mut slow = fs::File::create(folder.join("slow.bin")).unwrap();
        slow.write_all(b"first half, ").unwrap();
        assert_eq!(watching.next().await["key"], "arrived/before.bin");
        write(&folder, ".hidden", "no");
        write(&folder, "film.mkv.part", "no");
        write(&folder, "quick.bin", "at once");
        assert_eq!(watching.next().await["key"], "arrived/quick.bin");
        slow.write_all(b"second half").unwrap();
        drop(slow);
        assert_eq!(watching.next().await["key"], "arrived/slow.bin");
        let answer = appliance.get("/-/file/films/arrived/slow.bin").send();
        let body = answer.await.unwrap().text().await.unwrap();
        assert_eq!(body, "first half, second half");
        // A folder that is moved in comes with what is in it.
        write(&cli.at("out"), "deep/moved.bin", "moved");
        fs::rename(cli.at("out"), folder.join("album")).unwrap();
        assert_eq!(watching.next().await["key"], "arrived/album/deep/moved.bin");
        let second = Watching::begin(&cli).process.wait_with_output().await;
        assert!(!second.unwrap().status.success(), "one at a time");

        // After a kill nothing is sent again, and what came meanwhile is.
        watching.process.kill().await.unwrap();
        write(&folder, "meanwhile.bin", "meanwhile");
        touch(&folder.join("meanwhile.bin"), -60);
        let mut watching = Watching::begin(&cli);
        assert_eq!(watching.next().await["sent_before"], 4);
        assert_eq!(watching.next().await["key"], "arrived/meanwhile.bin");
        write(&folder, "quick.bin", "changed");
        assert_eq!(watching.next().await["key"], "arrived/quick.bin");
        let versions = nebula_client::api::ObjectsQuery {
            versions: true,
            ..Default::default()
        };
        let client = appliance.client();
        wait::until_async("every version is listed", async || {
            let page = client.objects("films", &versions).await.unwrap();
            page.items.len() == 6
        })
        .await;
        watching.process.kill().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_watch_that_is_killed_while_it_sends_sends_the_file_once() {
    within(LIMIT, async {
        let (appliance, cli) = stage().await;
        let folder = cli.at("in");
        fs::create_dir(&folder).unwrap();
        let content = Seed::new("watched").bytes(96 << 20);
        fs::write(folder.join("long.bin"), &content).unwrap();
        touch(&folder.join("long.bin"), -60);
        let mut watching = Watching::begin(&cli);
        let client = appliance.client();
        wait::until_async("the file is on its way", async || {
            let uploads = client.all_uploads().await.unwrap();
            uploads.iter().any(|upload| upload.offset_bytes > 0)
        })
        .await;
        watching.process.kill().await.unwrap();
        let mut watching = Watching::begin(&cli);
        assert_eq!(watching.next().await["sent_before"], 0);
        let sent = watching.next().await;
        assert_eq!(sent["key"], "arrived/long.bin");
        let hash = blake3::hash(&content).to_hex().to_string();
        assert_eq!(sent["blake3"], hash.as_str());
        assert!(sent["sent_bytes"].as_u64().unwrap() < 96 << 20, "{sent}");
        let versions = nebula_client::api::ObjectsQuery {
            versions: true,
            ..Default::default()
        };
        let page = client.objects("films", &versions).await.unwrap();
        assert_eq!(page.items.len(), 1, "{page:?}");
        assert!(client.all_uploads().await.unwrap().is_empty());
        watching.process.kill().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_folder_is_watched_for_good_by_a_unit_that_systemd_understands() {
    within(LIMIT, async {
        let (_appliance, cli) = stage().await;
        fs::create_dir(cli.at("with 100% space")).unwrap();
        let watch = ["push", "--watch", "with 100% space", "films:"];
        let told = cli.json(&[&watch[..], &["--install"]].concat()).await;
        let path = told[0]["path"].as_str().unwrap().to_owned();
        let home = cli.home().join(".config/systemd/user");
        assert_eq!(Path::new(&path).parent().unwrap(), home);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("with 100%% space\" \"films:\""), "{text}");
        let verified = Command::new("systemd-analyze")
            .args(["verify", &path])
            .env("SYSTEMD_UNIT_PATH", format!("{}:", home.display()))
            .env("SYSTEMD_LOG_LEVEL", "warning")
            .output();
        match verified {
            Ok(verified) => {
                let said = String::from_utf8_lossy(&verified.stderr);
                let is_good = verified.status.success() && !said.contains("nebula-watch");
                assert!(is_good, "{said}");
            }
            Err(_) => println!("SKIPPED: systemd-analyze is not on this machine"),
        }
        cli.ok(&[&watch[..], &["--uninstall"]].concat()).await;
        assert!(!Path::new(&path).exists());
        let again = cli.run(&[&watch[..], &["--uninstall"]].concat()).await;
        assert_eq!(again.code, Some(2), "{again:?}");
    })
    .await;
}

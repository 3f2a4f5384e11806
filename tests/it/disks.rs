//! Disks that are slow, hang or turn read-only under a running appliance, and a database that somebody else has locked.
//!
//! `strace` stands between the daemon and the kernel while it runs: it delays or refuses the calls that a bad disk would, and lets go again.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use nebula_client::api::CreateBucket;
use nebula_tests::{Appliance, Seed, Setup, wait, within};
use rustix::process::{Pid, Signal, kill_process};

/// For one test.
const LIMIT: Duration = Duration::from_mins(2);
const MIB: usize = 1 << 20;

/// A disk gone bad; good again when dropped.
struct Bad(Child);

impl Bad {
    /// Stands before every thread of the daemon; `None`, said loudly, where that is not allowed.
    ///
    /// `rules` are those of `strace -e inject=…`; calls on other files than `only` are left alone, when some are named.
    fn disk(appliance: &Appliance, rules: &[&str], only: &[PathBuf]) -> Option<Self> {
        let pid = appliance.pid().as_raw_nonzero().to_string();
        let calls: BTreeSet<&str> = rules
            .iter()
            .flat_map(|rule| rule.split(':').next().unwrap().split(','))
            .collect();
        let calls: Vec<&str> = calls.into_iter().collect();
        let mut command = Command::new("strace");
        command.args(["-f", "-q", "-p", &pid, "-o", "/dev/null", "-e"]);
        command.arg(format!("trace={}", calls.join(",")));
        for rule in rules {
            command.args(["-e", &format!("inject={rule}")]);
        }
        for path in only {
            command.arg("-P").arg(path);
        }
        let strace = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let Ok(child) = strace else {
            println!("SKIPPED: strace is not installed (apt-get install strace)");
            return None;
        };
        let mut bad = Self(child);
        let mut refused = false;
        wait::until("strace stands before every thread", || {
            refused = bad.0.try_wait().unwrap().is_some();
            refused || is_traced(&pid)
        });
        if refused {
            println!("SKIPPED: strace may not look at another process here");
            return None;
        }
        Some(bad)
    }
}

fn is_traced(pid: &str) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut tasks =
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
    tasks.all(|status| !status.contains("TracerPid:\t0\n"))
}

impl Drop for Bad {
    fn drop(&mut self) {
        // It lets every thread go before it ends.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

async fn with_bucket(setup: Setup) -> Appliance {
    let appliance = setup.start().await;
    let films = CreateBucket {
        name: "films".into(),
        ..CreateBucket::default()
    };
    appliance.client().create_bucket(&films).await.unwrap();
    appliance
}

async fn put(appliance: &Appliance, key: &str, content: &[u8]) -> Result<(), (String, u16)> {
    let put = appliance.s3().put_object().bucket("films").key(key);
    let body = ByteStream::from(content.to_vec());
    put.body(body).send().await.map(drop).map_err(refusal)
}

async fn delete(appliance: &Appliance, key: &str) -> Result<(), (String, u16)> {
    let delete = appliance.s3().delete_object().bucket("films").key(key);
    delete.send().await.map(drop).map_err(refusal)
}

async fn get(appliance: &Appliance, key: &str) -> Result<Vec<u8>, (String, u16)> {
    let get = appliance.s3().get_object().bucket("films").key(key);
    let answer = get.send().await.map_err(refusal)?;
    Ok(answer.body.collect().await.unwrap().to_vec())
}

fn refusal<E>(error: SdkError<E>) -> (String, u16)
where
    E: ProvideErrorMetadata + std::fmt::Debug,
{
    let status = error.raw_response().map(|answer| answer.status().as_u16());
    let code = error.code().unwrap_or_default().to_owned();
    (code, status.unwrap_or_default())
}

/// Files of blobs that are there, below the directory's 256.
fn blobs(appliance: &Appliance) -> usize {
    let folders = fs::read_dir(appliance.data_dir().join("blobs")).unwrap();
    let files = folders.map(|folder| match fs::read_dir(folder.unwrap().path()) {
        Ok(files) => files.count(),
        Err(_) => 0,
    });
    files.sum()
}

/// The most memory that the daemon has held, in MiB.
fn peak_mib(appliance: &Appliance) -> u64 {
    let pid = appliance.pid().as_raw_nonzero();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() / 1024
}

/// A file system in memory; gone with the value.
struct Small(
    PathBuf,
    #[expect(dead_code, reason = "removed with the value")] tempfile::TempDir,
);

impl Small {
    fn mount(at: &Path, place: tempfile::TempDir, size: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let options = format!("mode=0700,size={size}");
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", &options, "nebula-test"]);
        if !mount.arg(at).status().is_ok_and(|status| status.success()) {
            println!("SKIPPED: a disk of its own needs the right to mount a tmpfs (run as root)");
            return None;
        }
        Some(Self(at.to_owned(), place))
    }

    fn remount(&self, how: &str) {
        let mut mount = Command::new("mount");
        let mount = mount.args(["-o", &format!("remount,{how}")]).arg(&self.0);
        assert!(mount.status().unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_the_removal_of_what_was_replaced_or_deleted() {
    within(LIMIT, async {
        let mut appliance = with_bucket(Setup::default()).await;
        let content = Seed::new("removal").bytes(MIB);
        for key in ["replaced", "deleted", "left"] {
            put(&appliance, key, &content).await.unwrap();
        }
        assert_eq!(blobs(&appliance), 3);
        let rules = ["unlink,unlinkat:delay_enter=2000000"];
        let Some(slow) = Bad::disk(&appliance, &rules, &[]) else {
            return;
        };
        let begun = Instant::now();
        put(&appliance, "replaced", b"small").await.unwrap();
        delete(&appliance, "deleted").await.unwrap();
        assert!(
            begun.elapsed() < Duration::from_millis(1900),
            "they were answered after {:?}",
            begun.elapsed()
        );
        assert_eq!(get(&appliance, "deleted").await.unwrap_err().1, 404);
        drop(slow);
        wait::until("the files are gone", || blobs(&appliance) == 1);

        // What a crash leaves of it is found by the next start.
        let slow = Bad::disk(&appliance, &["unlink,unlinkat:delay_enter=4000000"], &[]);
        delete(&appliance, "left").await.unwrap();
        assert_eq!(blobs(&appliance), 1, "it is still being removed");
        appliance.kill();
        drop(slow);
        assert_eq!(blobs(&appliance), 1);
        appliance.restart().await;
        assert_eq!(blobs(&appliance), 0);
        appliance.fsck(true).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn space_that_was_deleted_counts_while_its_file_is_being_removed() {
    within(LIMIT, async {
        let place = tempfile::tempdir().unwrap();
        let at = place.path().to_owned();
        let Some(disk) = Small::mount(&at, place, "64m") else {
            return;
        };
        let appliance = with_bucket(Setup::default().data_dir(&disk.0)).await;
        let content = Seed::new("space").bytes(20 * MIB);
        put(&appliance, "a", &content).await.unwrap();
        let full = put(&appliance, "b", &content).await.unwrap_err();
        assert_eq!(full, ("InsufficientStorage".into(), 507));
        let rules = ["unlink,unlinkat:delay_enter=500000"];
        let Some(slow) = Bad::disk(&appliance, &rules, &[]) else {
            return;
        };
        for _ in 0..3 {
            delete(&appliance, "a").await.unwrap();
            put(&appliance, "a", &content).await.unwrap();
        }
        drop(slow);
        assert_eq!(get(&appliance, "a").await.unwrap(), content);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_disk_slows_writes_alone_and_fills_no_memory() {
    within(LIMIT, async {
        let appliance = with_bucket(Setup::default()).await;
        let small = Seed::new("read").bytes(8 * 1024);
        let content = Seed::new("slow").bytes(2 * MIB);
        put(&appliance, "small", &small).await.unwrap();
        put(&appliance, "large", &content).await.unwrap();
        let rules = ["fsync,fdatasync:delay_enter=600000"];
        let Some(slow) = Bad::disk(&appliance, &rules, &[]) else {
            return;
        };
        let begun = Instant::now();
        let keys: Vec<String> = (0..48).map(|n| format!("w{n}")).collect();
        let writes = keys.iter().map(|key| put(&appliance, key, &content));
        let mut writes = std::pin::pin!(futures::future::join_all(writes));
        let mut reads = 0;
        let answers = loop {
            tokio::select! {
                answers = &mut writes => break answers,
                () = async {
                    let asked = Instant::now();
                    assert_eq!(get(&appliance, "small").await.unwrap(), small);
                    assert_eq!(get(&appliance, "large").await.unwrap(), content);
                    let ready = appliance.get("/-/readyz").send().await.unwrap();
                    assert_eq!(ready.status(), 200);
                    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
                } => reads += 1,
            }
        };
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        // Nothing was acknowledged without its syncs, those of many writers are shared, and nobody who reads waits for them.
        assert!(
            begun.elapsed() >= Duration::from_millis(1200),
            "{:?}",
            begun.elapsed()
        );
        assert!(
            begun.elapsed() < Duration::from_secs(40),
            "{:?}",
            begun.elapsed()
        );
        assert!(reads > 0);
        assert!(peak_mib(&appliance) < 128, "{} MiB", peak_mib(&appliance));
        drop(slow);
        let begun = Instant::now();
        put(&appliance, "after", &small).await.unwrap();
        assert!(
            begun.elapsed() < Duration::from_millis(600),
            "{:?}",
            begun.elapsed()
        );
        for key in &keys {
            assert_eq!(get(&appliance, key).await.unwrap(), content);
        }
        appliance.fsck(true).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_main_directory_that_turns_read_only_is_read_on_and_comes_back_without_a_restart() {
    within(LIMIT, async {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        let Some(disk) = Small::mount(&data.join("blobs"), place, "64m") else {
            return;
        };
        let appliance = with_bucket(Setup::default().data_dir(&data)).await;
        let content = Seed::new("read-only").bytes(MIB);
        for key in ["kept", "doomed"] {
            put(&appliance, key, &content).await.unwrap();
        }
        // The directory of the blobs alone: what the rows can do is done, and the file goes when it can.
        disk.remount("ro");
        let refused = put(&appliance, "new", &content).await.unwrap_err();
        assert_eq!(refused, ("ServiceUnavailable".into(), 503));
        assert_eq!(get(&appliance, "kept").await.unwrap(), content);
        let ready = appliance.get("/-/readyz").send().await.unwrap();
        assert_eq!(ready.status(), 503, "it tells the truth");
        delete(&appliance, "doomed").await.unwrap();
        assert_eq!(get(&appliance, "doomed").await.unwrap_err().1, 404);
        // The whole of it, rows too, as a kernel does that met an error of the disk: files stay open, and take nothing.
        let rules = ["pwrite64,write,fallocate,ftruncate,fdatasync,fsync:error=EROFS"];
        let rows = ["nebula.db", "nebula.db-wal", "nebula.db-shm"].map(|name| data.join(name));
        let Some(bad) = Bad::disk(&appliance, &rules, &rows) else {
            return;
        };
        for write in ["tiny", "new"] {
            let body = if write == "tiny" {
                &content[..100]
            } else {
                &content
            };
            let refused = put(&appliance, write, body).await.unwrap_err();
            assert_eq!(refused, ("ServiceUnavailable".into(), 503), "{write}");
        }
        let refused = delete(&appliance, "kept").await.unwrap_err();
        assert_eq!(refused, ("ServiceUnavailable".into(), 503));
        assert_eq!(get(&appliance, "kept").await.unwrap(), content);
        drop(bad);
        disk.remount("rw");
        wait::until_async("it is ready again", async || {
            let ready = appliance.get("/-/readyz").send().await;
            ready.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        put(&appliance, "new", &content).await.unwrap();
        put(&appliance, "tiny", &content[..100]).await.unwrap();
        delete(&appliance, "kept").await.unwrap();
        assert_eq!(get(&appliance, "new").await.unwrap(), content);
        assert_eq!(get(&appliance, "kept").await.unwrap_err().1, 404);
        appliance.fsck(true).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_somebody_locks_is_waited_for_and_then_said() {
    within(LIMIT, async {
        let appliance = with_bucket(Setup::default()).await;
        put(&appliance, "before", b"before").await.unwrap();
        let mut sqlite = Command::new("sqlite3")
            .arg(appliance.data_dir().join("nebula.db"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sqlite3 is installed by packaging/prepare");
        let mut words = sqlite.stdin.take().unwrap();
        let mut said = std::io::BufReader::new(sqlite.stdout.take().unwrap());
        let mut tell = |text: &str| {
            use std::io::{BufRead as _, Write as _};
            writeln!(words, ".timeout 10000\n{text}\nSELECT 'done';").unwrap();
            let mut line = String::new();
            said.read_line(&mut line).unwrap();
            assert_eq!(line.trim(), "done", "{text}");
        };
        tell("BEGIN IMMEDIATE;");
        // For a moment: the write waits, and everybody reads.
        let write = put(&appliance, "soon", b"soon");
        let mut write = std::pin::pin!(write);
        tokio::select! {
            early = &mut write => panic!("written past a lock: {early:?}"),
            read = get(&appliance, "before") => assert_eq!(read.unwrap(), b"before"),
        }
        tell("COMMIT;");
        write.await.unwrap();
        // For longer than anybody should wait: it is said, and nothing is left of it.
        tell("BEGIN IMMEDIATE;");
        let refused = put(&appliance, "never", b"never").await.unwrap_err();
        assert_eq!(refused, ("ServiceUnavailable".into(), 503));
        assert_eq!(get(&appliance, "soon").await.unwrap(), b"soon");
        tell("COMMIT;");
        drop(words);
        sqlite.wait().unwrap();
        put(&appliance, "after", b"after").await.unwrap();
        assert_eq!(get(&appliance, "never").await.unwrap_err().1, 404);
        appliance.fsck(true).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_is_emptied_by_the_appliance_itself_over_a_restart_and_let_be_when_told() {
    within(LIMIT, async {
        let place = tempfile::tempdir().unwrap();
        let usb = place.path().join("usb");
        fs::create_dir(&usb).unwrap();
        let config = format!(
            "disks = [{{ name = \"usb\", path = \"{}\" }}]\n",
            usb.display()
        );
        let mut appliance = with_bucket(Setup::default().config(&config)).await;
        let cli = appliance.cli();
        cli.login().await;
        let client = appliance.client();
        let on_usb = |wanted: usize| {
            let folders = fs::read_dir(usb.join("blobs")).unwrap().flatten();
            let files = folders.filter_map(|folder| fs::read_dir(folder.path()).ok());
            files.map(Iterator::count).sum::<usize>() == wanted
        };
        // Everything goes to the other disk while the main directory is closed.
        let begun = cli.run(&["drain", "main"]).await;
        assert_eq!(begun.code, Some(0), "{begun:?}");
        let content = Seed::new("drain").bytes(4 * MIB);
        for n in 0..4 {
            put(&appliance, &format!("f{n}"), &content[n..])
                .await
                .unwrap();
        }
        assert!(on_usb(4));
        let back = cli.run(&["drain", "main", "--cancel"]).await;
        assert_eq!(back.code, Some(0), "{back:?}");
        assert!(client.drains().await.unwrap().is_empty());
        let again = cli.run(&["drain", "main", "--cancel"]).await;
        assert_eq!(again.code, Some(6), "{again:?}");
        let unknown = cli.run(&["drain", "floppy"]).await;
        assert_eq!(unknown.code, Some(6), "{unknown:?}");

        // Slowly enough to be looked at, and to be cut by a crash.
        let begun = cli.run(&["drain", "usb", "--rate", "4M"]).await;
        assert_eq!(begun.code, Some(0), "{begun:?}");
        wait::until_async("a file has moved", async || {
            let drains = client.drains().await.unwrap();
            matches!(&drains[..], [one] if one.moved_files > 0 && one.left_files > 0)
        })
        .await;
        let listed = cli.run(&["drain"]).await;
        assert!(
            listed.stdout.contains("usb") && listed.stdout.contains("running"),
            "{listed:?}"
        );
        appliance.kill();
        appliance.restart().await;
        let client = appliance.client();
        let taken_up = client.drains().await.unwrap();
        assert_eq!(taken_up.len(), 1, "it is not forgotten");
        let done = appliance.cli();
        done.login().await;
        let done = done.run(&["drain", "usb", "--wait"]).await;
        assert!(
            done.code == Some(0) && done.stdout.contains("usb is empty"),
            "{done:?}"
        );
        assert!(on_usb(0));
        for n in 0..4 {
            assert_eq!(
                get(&appliance, &format!("f{n}")).await.unwrap(),
                content[n..]
            );
        }
        appliance.fsck(true).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_inodes_says_full_takes_deletions_and_recovers() {
    within(LIMIT, async {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        // The 256 directories, and a few files.
        let size = "64m,nr_inodes=290";
        let Some(_disk) = Small::mount(&data.join("blobs"), place, size) else {
            return;
        };
        let appliance = with_bucket(Setup::default().data_dir(&data)).await;
        let content = Seed::new("inodes").bytes(20 * 1024);
        let mut stored = 0;
        let refused = loop {
            match put(&appliance, &format!("f{stored}"), &content).await {
                Ok(()) => stored += 1,
                Err(refused) => break refused,
            }
            assert!(stored < 100, "it never runs out");
        };
        assert_eq!(refused, ("InsufficientStorage".into(), 507));
        // What lies in its row needs none, and what is there is read.
        put(&appliance, "small", b"small").await.unwrap();
        assert_eq!(get(&appliance, "f0").await.unwrap(), content);
        delete(&appliance, "f0").await.unwrap();
        wait::until_async("its inode is free", async || {
            put(&appliance, "again", &content).await.is_ok()
        })
        .await;
        appliance.fsck(true).await;
    })
    .await;
}

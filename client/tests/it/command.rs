//! The `nebula` command itself: exit codes, output for machines, what it remembers.

use crate::node::{KEY, Node};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
};
use tokio::{io::AsyncWriteExt as _, process::Command};

struct Person {
    node: Node,
    url: String,
    home: tempfile::TempDir,
}

impl Person {
    async fn at_a_node() -> Self {
        let (node, address) = Node::start().await;
        Self {
            node,
            url: format!("http://{address}"),
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nebula"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.home.path())
            .env("COLUMNS", "80")
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    async fn types(&self, args: &[&str]) -> Output {
        self.command(args).output().await.unwrap()
    }

    async fn logged_in(self) -> Self {
        let mut login = self.command(&["login", &self.url]);
        login
            .env("NEBULA_ACCESS_KEY", KEY.0)
            .env("NEBULA_SECRET_KEY", KEY.1);
        let output = login.output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        self
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let lines = text(&output.stdout);
    lines
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect()
}

#[tokio::test]
async fn a_day_with_a_node() {
    let me = Person::at_a_node().await.logged_in().await;
    let whoami = me.types(&["whoami", "--json"]).await;
    assert_eq!(lines(&whoami)[0]["me"]["actor"], "key:NBTEST");
    assert_eq!(me.types(&["mb", "notes"]).await.status.code(), Some(0));
    assert_eq!(me.types(&["mb", "notes"]).await.status.code(), Some(1));
    fs::create_dir_all(me.home.path().join("Movies/deep")).unwrap();
    for name in ["Movies/a.txt", "Movies/b.txt", "Movies/deep/c.txt"] {
        fs::write(me.home.path().join(name), name).unwrap();
    }
    let push = me.types(&["push", "Movies", "films:", "--json"]).await;
    assert_eq!(push.status.code(), Some(0), "{push:?}");
    let pushed = lines(&push).into_iter().filter(|l| l["type"] == "pushed");
    assert_eq!(pushed.count(), 3);
    assert_eq!(
        me.node.content("Movies/deep/c.txt").unwrap(),
        b"Movies/deep/c.txt"
    );
    let ls = me.types(&["ls", "films:", "--recursive"]).await;
    let listed = text(&ls.stdout);
    assert!(
        listed.contains("Movies/a.txt") && !listed.contains('\x1b'),
        "{listed}"
    );
    let pull = me.types(&["pull", "films:Movies/", "back"]).await;
    assert_eq!(pull.status.code(), Some(0), "{pull:?}");
    let back = fs::read(me.home.path().join("back/deep/c.txt")).unwrap();
    assert_eq!(back, b"Movies/deep/c.txt");
    let rm = me.types(&["rm", "films:Movies/", "--recursive"]).await;
    assert_eq!(rm.status.code(), Some(0), "{rm:?}");
    assert!(me.node.with(|n| n.objects.is_empty()));
    let logout = me.types(&["logout"]).await;
    assert_eq!(logout.status.code(), Some(0));
    assert_eq!(me.types(&["ls"]).await.status.code(), Some(4));
}

#[tokio::test]
async fn standard_input_becomes_an_object() {
    let me = Person::at_a_node().await.logged_in().await;
    let mut push = me.command(&["push", "-", "films:from/stdin.txt"]);
    let mut child = push
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"streamed").await.unwrap();
    drop(stdin);
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    assert_eq!(me.node.content("from/stdin.txt").unwrap(), b"streamed");
    // Nothing of it was put down here on its way.
    assert!(!me.home.path().join(".local").exists());
}

#[tokio::test]
async fn each_failure_has_its_exit_code() {
    let me = Person::at_a_node().await.logged_in().await;
    let table: [(&[&str], i32); 8] = [
        (&["frobnicate"], 2),
        (&["push", "x"], 2),
        (&["ls", "films:nothing"], 6),
        (&["rm", "films:nothing"], 6),
        (&["ls", "flims:"], 6),
        (&["push", "missing.mkv", "films:"], 1),
        (&["login", "http://127.0.0.1:1"], 5),
        (&["login", "https://127.0.0.1:1"], 2),
    ];
    for (args, exit) in table {
        let output = me.types(args).await;
        assert_eq!(output.status.code(), Some(exit), "{args:?}: {output:?}");
        let said = text(&output.stderr);
        assert!(said.contains("╭─ Error"), "{args:?}: {said}");
        assert!(!said.contains('\x1b'), "colour in a pipe: {said}");
    }
    let meant = text(&me.types(&["ls", "flims:"]).await.stderr);
    assert!(meant.contains("films:"), "{meant}");
    let json = me.types(&["rm", "films:nothing", "--json"]).await;
    let error: Value = serde_json::from_slice(&json.stderr).unwrap();
    assert_eq!(error["error"]["code"], "object_not_found");
    assert_eq!(error["error"]["exit"], 6);
}

#[tokio::test]
async fn some_of_several_is_partly() {
    let me = Person::at_a_node().await.logged_in().await;
    fs::write(me.home.path().join("a.txt"), "a").unwrap();
    let output = me.types(&["push", "a.txt", "missing.txt", "films:"]).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(me.node.content("a.txt").is_some());
}

#[tokio::test]
async fn a_wrong_key_is_not_kept_and_never_shown() {
    let me = Person::at_a_node().await;
    let mut login = me.command(&["login", &me.url]);
    login
        .env("NEBULA_ACCESS_KEY", "NBTEST")
        .env("NEBULA_SECRET_KEY", "falsch123");
    let output = login.output().await.unwrap();
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert!(!text(&output.stderr).contains("falsch123"));
    let file: &Path = &me.home.path().join(".config/nebula/credentials.toml");
    assert!(!file.exists());
}

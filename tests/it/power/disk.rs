//! A disk without power: what a run wrote and synced, and the states in which the power can leave it.
//!
//! What is promised is what was synced: the bytes of a file by `fsync` or `fdatasync` of it, its name by `fsync` of its folder, if the sync began after the change had ended and had ended itself before the cut.
//! Everything else may be there or not: each page of a file by itself and in the order of its writes, the length of the file in the order of its changes, each name by itself.
//! A rename is one change, safe with either of its folders.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nebula_tests::Seed;

use super::trace::Call;

/// What a disk writes as one.
const PAGE: usize = 4096;

type NodeId = usize;
const ROOT: NodeId = 0;

/// Which syncs count.
pub(super) type Counts = fn(&str) -> bool;

/// How the power treats what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// Nothing of it is there.
    Drop,
    /// All of it is.
    Keep,
    /// Names as the system wrote them, bytes as chance has it.
    Tear,
    /// Chance decides all of it.
    Chance,
}

/// Everything below one folder, with its history.
pub(super) struct Disk {
    nodes: Vec<Node>,
    names: Vec<NameChange>,
    /// Lines at which a sync had ended: moments worth a cut.
    pub(super) synced: Vec<usize>,
}

#[derive(Default)]
struct Node {
    is_dir: bool,
    /// Where it lay first, for those who look at its kind.
    path: String,
    changes: Vec<Change>,
    syncs: Vec<(usize, usize)>,
}

struct Change {
    start: usize,
    end: usize,
    what: What,
}

enum What {
    Write(usize, Vec<u8>),
    Length(usize),
}

struct NameChange {
    start: usize,
    end: usize,
    /// Taken away: folder and name.
    from: Option<(NodeId, String)>,
    /// Given.
    to: Option<(NodeId, String)>,
    node: NodeId,
}

impl Disk {
    /// Replays a log on an empty folder `root`.
    pub(super) fn replay(calls: &[Call], root: &str) -> Self {
        let mut replay = Replay {
            disk: Self {
                nodes: vec![Node {
                    is_dir: true,
                    ..Node::default()
                }],
                names: Vec::new(),
                synced: Vec::new(),
            },
            root: root.to_owned(),
            now: BTreeMap::new(),
            open: HashMap::new(),
        };
        for call in calls {
            replay.take(call);
        }
        replay.disk
    }

    /// Makes the folder `into` what the power left when it went at `cut`.
    pub(super) fn leave(
        &self,
        cut: usize,
        mood: Mood,
        counts: Counts,
        seed: &mut Seed,
        into: &Path,
    ) {
        let safe = |node: NodeId, end: usize| {
            let node = &self.nodes[node];
            counts(&node.path)
                && node
                    .syncs
                    .iter()
                    .any(|(began, ended)| *began >= end && *ended <= cut)
        };
        let mut there: BTreeMap<(NodeId, String), NodeId> = BTreeMap::new();
        for change in self.names.iter().filter(|change| change.start <= cut) {
            let folders = [&change.from, &change.to];
            let synced = folders
                .iter()
                .any(|side| side.as_ref().is_some_and(|(dir, _)| safe(*dir, change.end)));
            let kept = synced
                || match mood {
                    Mood::Drop => false,
                    Mood::Keep | Mood::Tear => true,
                    Mood::Chance => seed.within(0, 2) == 1,
                };
            if !kept {
                continue;
            }
            if let Some(from) = &change.from
                && there.get(from) == Some(&change.node)
            {
                there.remove(from);
            }
            if let Some(to) = &change.to {
                there.insert(to.clone(), change.node);
            }
        }
        self.lay(
            ROOT,
            &there,
            &mut |id| self.content(id, cut, mood, &safe, seed),
            into,
        );
    }

    fn lay(
        &self,
        dir: NodeId,
        there: &BTreeMap<(NodeId, String), NodeId>,
        content: &mut impl FnMut(NodeId) -> Vec<u8>,
        into: &Path,
    ) {
        fs::create_dir_all(into).unwrap();
        for ((_, name), node) in there.range((dir, String::new())..(dir + 1, String::new())) {
            let path = into.join(name);
            if self.nodes[*node].is_dir {
                self.lay(*node, there, content, &path);
            } else if !name.ends_with("-shm") {
                // SQLite shares memory through that file and makes it anew.
                // Modes are not in question; keys insist on theirs.
                let file = File::options()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(path);
                file.unwrap().write_all(&content(*node)).unwrap();
            }
        }
    }

    fn content(
        &self,
        id: NodeId,
        cut: usize,
        mood: Mood,
        safe: &impl Fn(NodeId, usize) -> bool,
        seed: &mut Seed,
    ) -> Vec<u8> {
        let changes = self.nodes[id].changes.iter();
        let changes: Vec<&Change> = changes.filter(|change| change.start <= cut).collect();
        let (safe, loose): (Vec<&Change>, Vec<&Change>) =
            changes.into_iter().partition(|change| safe(id, change.end));
        let mut bytes = Vec::new();
        for change in safe {
            change.what.apply(&mut bytes);
        }
        match mood {
            Mood::Drop => return bytes,
            Mood::Keep => {
                for change in loose {
                    change.what.apply(&mut bytes);
                }
                return bytes;
            }
            Mood::Tear | Mood::Chance => {}
        }
        let lengths = seed.within(0, loose.len() as u64 + 1) as usize;
        let mut length = bytes.len();
        // Of each page, so many of its writes are there.
        let mut left: HashMap<usize, u64> = HashMap::new();
        for change in &loose {
            for page in change.what.pages() {
                *left.entry(page).or_default() += 1;
            }
        }
        let mut numbers: Vec<usize> = left.keys().copied().collect();
        numbers.sort_unstable();
        for page in numbers {
            let writes = left.get_mut(&page).unwrap();
            *writes = seed.within(0, *writes + 1);
        }
        for (number, change) in loose.iter().enumerate() {
            if number < lengths {
                length = change.what.length_after(length);
            }
            match &change.what {
                What::Length(to) if number < lengths => bytes.resize(*to, 0),
                What::Length(_) => {}
                What::Write(at, data) => {
                    for page in change.what.pages() {
                        let writes = left.get_mut(&page).unwrap();
                        if *writes == 0 {
                            continue;
                        }
                        *writes -= 1;
                        let from = (page * PAGE).max(*at);
                        let to = ((page + 1) * PAGE).min(at + data.len());
                        if bytes.len() < to {
                            bytes.resize(to, 0);
                        }
                        bytes[from..to].copy_from_slice(&data[from - at..to - at]);
                    }
                }
            }
        }
        bytes.resize(length, 0);
        bytes
    }
}

impl What {
    fn apply(&self, bytes: &mut Vec<u8>) {
        bytes.resize(self.length_after(bytes.len()), 0);
        if let Self::Write(at, data) = self {
            bytes[*at..at + data.len()].copy_from_slice(data);
        }
    }

    fn length_after(&self, before: usize) -> usize {
        match self {
            Self::Write(at, data) => before.max(at + data.len()),
            Self::Length(to) => *to,
        }
    }

    fn pages(&self) -> std::ops::Range<usize> {
        match self {
            Self::Write(at, data) => at / PAGE..(at + data.len()).div_ceil(PAGE),
            Self::Length(_) => 0..0,
        }
    }
}

/// A replay under way.
struct Replay {
    disk: Disk,
    root: String,
    /// What a look at the folder would show at this moment.
    now: BTreeMap<String, NodeId>,
    open: HashMap<i64, Handle>,
}

#[derive(Clone, Copy)]
struct Handle {
    node: NodeId,
    /// Where a plain write goes on.
    at: usize,
    appends: bool,
}

impl Replay {
    /// The path below the root, if it is.
    fn inside(&self, path: &str) -> Option<String> {
        let rest = path.strip_prefix(&self.root)?;
        match rest.strip_prefix('/') {
            Some(inside) => Some(inside.trim_end_matches('/').to_owned()),
            None => rest.is_empty().then(String::new),
        }
    }

    fn find(&self, path: &str) -> Option<NodeId> {
        match path {
            "" => Some(ROOT),
            path => self.now.get(path).copied(),
        }
    }

    /// A folder and a name in it.
    fn place(&self, path: &str) -> (NodeId, String) {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let dir = self.find(dir);
        (dir.expect("its folder was made before"), name.to_owned())
    }

    fn make(&mut self, call: &Call, path: &str, is_dir: bool) -> NodeId {
        let node = self.disk.nodes.len();
        self.disk.nodes.push(Node {
            is_dir,
            path: path.to_owned(),
            ..Node::default()
        });
        let to = Some(self.place(path));
        self.name(call, None, to, node);
        self.now.insert(path.to_owned(), node);
        node
    }

    fn name(
        &mut self,
        call: &Call,
        from: Option<(NodeId, String)>,
        to: Option<(NodeId, String)>,
        node: NodeId,
    ) {
        self.disk.names.push(NameChange {
            start: call.start,
            end: call.end,
            from,
            to,
            node,
        });
    }

    fn change(&mut self, call: &Call, node: NodeId, what: What) {
        self.disk.nodes[node].changes.push(Change {
            start: call.start,
            end: call.end,
            what,
        });
    }

    fn length(&self, node: NodeId) -> usize {
        let changes = self.disk.nodes[node].changes.iter();
        changes.fold(0, |length, change| change.what.length_after(length))
    }

    fn take(&mut self, call: &Call) {
        match call.name.as_str() {
            "open" | "creat" => self.opened(call, 0),
            "openat" => self.opened(call, 1),
            "close" => {
                self.open.remove(&call.number(0));
            }
            "dup" | "dup2" | "dup3" => self.doubled(call),
            "fcntl" if call.word(1).starts_with("F_DUPFD") => self.doubled(call),
            "accept" | "accept4" => {
                self.open.remove(&call.result);
            }
            "mkdir" => self.folder(call, 0),
            "mkdirat" => self.folder(call, 1),
            "rename" => self.moved(call, 0, 1, true),
            "renameat" | "renameat2" => self.moved(call, 1, 3, true),
            "link" => self.moved(call, 0, 1, false),
            "linkat" => self.moved(call, 1, 3, false),
            "unlink" | "rmdir" => self.removed(call, 0),
            "unlinkat" => self.removed(call, 1),
            "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => self.written(call),
            "ftruncate" => self.cut(call),
            "fallocate" => self.reserved(call),
            "fsync" | "fdatasync" => self.synced(call),
            "symlink" | "symlinkat" | "truncate" | "copy_file_range" | "splice" | "sendfile"
            | "sync" | "syncfs" => {
                let ours = [0, 1, 2].iter().any(|at| {
                    let word = call.word(*at);
                    word.parse().is_ok_and(|fd| self.open.contains_key(&fd))
                });
                assert!(!ours, "a replay knows nothing of {}", call.name);
            }
            "io_uring_setup" => panic!("what goes through io_uring is not in the log"),
            // Of sync_file_range too: the kernel may start, and nothing is promised.
            _ => {}
        }
    }

    fn opened(&mut self, call: &Call, at: usize) {
        self.open.remove(&call.result);
        let flags = call.word(at + 1);
        let Some(path) = self.inside(&call.path(at)) else {
            return;
        };
        let creates = flags.contains("O_CREAT") || call.name == "creat";
        let node = match self.find(&path) {
            Some(node) => node,
            None if creates => self.make(call, &path, false),
            None => return,
        };
        if flags.contains("O_TRUNC") && self.length(node) > 0 {
            self.change(call, node, What::Length(0));
        }
        let handle = Handle {
            node,
            at: 0,
            appends: flags.contains("O_APPEND"),
        };
        self.open.insert(call.result, handle);
    }

    fn doubled(&mut self, call: &Call) {
        match self.open.get(&call.number(0)).copied() {
            Some(handle) => self.open.insert(call.result, handle),
            None => self.open.remove(&call.result),
        };
    }

    fn folder(&mut self, call: &Call, at: usize) {
        if let Some(path) = self.inside(&call.path(at)).filter(|path| !path.is_empty()) {
            self.make(call, &path, true);
        }
    }

    fn moved(&mut self, call: &Call, from: usize, to: usize, leaves: bool) {
        let (from, to) = (call.path(from), call.path(to));
        let (Some(from), Some(to)) = (self.inside(&from), self.inside(&to)) else {
            // A file without a name gets one through /proc.
            assert!(self.inside(&to).is_none(), "a link from {from}");
            return;
        };
        let node = self.find(&from).expect("what is moved was made before");
        let left = leaves.then(|| self.place(&from));
        let given = Some(self.place(&to));
        self.name(call, left, given, node);
        if leaves {
            self.now.remove(&from);
        }
        self.now.insert(to, node);
    }

    fn removed(&mut self, call: &Call, at: usize) {
        let Some(path) = self.inside(&call.path(at)) else {
            return;
        };
        let node = self.find(&path).expect("what is removed was made before");
        let from = Some(self.place(&path));
        self.name(call, from, None, node);
        self.now.remove(&path);
    }

    fn written(&mut self, call: &Call) {
        let fd = call.number(0);
        let Some(handle) = self.open.get(&fd).copied() else {
            return;
        };
        let data = call.bytes(1);
        let at = match call.name.as_str() {
            "pwrite64" | "pwritev" | "pwritev2" => call.number(3) as usize,
            _ if handle.appends => self.length(handle.node),
            _ => handle.at,
        };
        if matches!(call.name.as_str(), "write" | "writev") {
            self.open.get_mut(&fd).unwrap().at = at + data.len();
        }
        self.change(call, handle.node, What::Write(at, data));
    }

    fn cut(&mut self, call: &Call) {
        if let Some(handle) = self.open.get(&call.number(0)).copied() {
            self.change(call, handle.node, What::Length(call.number(1) as usize));
        }
    }

    fn reserved(&mut self, call: &Call) {
        let Some(handle) = self.open.get(&call.number(0)).copied() else {
            return;
        };
        match call.word(1) {
            "FALLOC_FL_KEEP_SIZE" => {}
            "0" => {
                let to = (call.number(2) + call.number(3)) as usize;
                let to = to.max(self.length(handle.node));
                self.change(call, handle.node, What::Length(to));
            }
            other => panic!("a replay knows nothing of fallocate {other}"),
        }
    }

    fn synced(&mut self, call: &Call) {
        if let Some(handle) = self.open.get(&call.number(0)).copied() {
            self.disk.nodes[handle.node]
                .syncs
                .push((call.start, call.end));
            self.disk.synced.push(call.end);
        }
    }
}

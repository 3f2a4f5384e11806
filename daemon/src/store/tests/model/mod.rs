//! Random operations, crashes among them, against a plain model in memory.
//!
//! A crash copies the data directory in the middle of things and goes on in the copy: the memory, the tasks and the file locks of the old store mean nothing there, and what the kernel was given is there, as after kill -9.
//! The catalog's write lock is held while it is copied, so that the copy is a moment and not a smear of two.

mod crash;
mod objects;
mod uploads;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::encryption::seal_with;
use super::*;
use crate::kernel::{UploadId, VersionId};

/// Histories per run; `PROPTEST_CASES` asks for more.
const CASES: u32 = 8;
/// Operations in a history.
const OPS_MAX: usize = 40;

/// The second one encrypts by default.
const BUCKETS: [&str; 2] = ["films", "notes"];
const KEYS: [&str; 6] = ["a", "d/1", "d/2", "d/e/3", "d0", "é"];
/// On both sides of inline and blob, and of one block of sums and two.
const SIZES: [usize; 7] = [0, 1, 1000, 16 * 1024, 16 * 1024 + 1, 100_000, 1_500_000];
/// The smallest part that may stand before another.
const PART: usize = 5 << 20;

/// A bucket and a key.
type At = (&'static str, &'static str);

#[derive(Clone, Copy, Debug)]
enum When {
    Always,
    Absent,
    Same,
    Other,
}

/// What becomes of the session that appended.
#[derive(Clone, Copy, Debug)]
enum Then {
    Hold,
    Checkpoint,
    Release,
    Drop,
}

/// What is under way when the process dies, besides uploads that are held.
#[derive(Clone, Copy, Debug)]
enum Underway {
    Nothing,
    Writing(usize),
    Sealed(usize),
}

#[derive(Clone, Debug)]
enum Op {
    MakeBucket(&'static str),
    RemoveBucket(&'static str),
    Versioning(&'static str, Versioning),
    Put(At, usize, u8, When),
    Range(At, f64, f64),
    ReadVersion(At, usize),
    Delete(At),
    DeleteVersion(At, usize),
    Copy(At, At),
    BeginParts(At),
    PutPart(usize, u32, usize, u8),
    CopyPart(usize, u32, At, f64, f64),
    Complete(usize),
    Abort(usize),
    BeginUpload(At, Option<usize>),
    Append(usize, usize, Then),
    Settle(usize),
    Finish(usize),
    Terminate(usize),
    RotateKeys,
    Crash(Underway),
}

fn at() -> impl Strategy<Value = At> {
    (bucket_name(), prop::sample::select(&KEYS[..]))
}

fn bucket_name() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => Just(BUCKETS[0]), 1 => Just(BUCKETS[1])]
}

fn size() -> impl Strategy<Value = usize> {
    prop::sample::select(&SIZES[..])
}

fn op() -> impl Strategy<Value = Op> {
    let when = prop_oneof![
        6 => Just(When::Always),
        1 => Just(When::Absent),
        1 => Just(When::Same),
        1 => Just(When::Other),
    ];
    let then = prop::sample::select(&[Then::Hold, Then::Checkpoint, Then::Release, Then::Drop][..]);
    let versioning = prop::sample::select(&[Versioning::Enabled, Versioning::Suspended][..]);
    let part = prop_oneof![3 => size(), 1 => Just(PART)];
    let underway = prop_oneof![
        Just(Underway::Nothing),
        size().prop_map(Underway::Writing),
        size().prop_map(Underway::Sealed),
    ];
    let nth = 0..4_usize;
    let number = 1..4_u32;
    prop_oneof![
        1 => bucket_name().prop_map(Op::MakeBucket),
        1 => bucket_name().prop_map(Op::RemoveBucket),
        2 => (bucket_name(), versioning).prop_map(|(b, v)| Op::Versioning(b, v)),
        12 => (at(), size(), any::<u8>(), when).prop_map(|(at, size, seed, when)| Op::Put(at, size, seed, when)),
        3 => (at(), 0.0..1.0, 0.0..1.0).prop_map(|(at, from, to)| Op::Range(at, from, to)),
        2 => (at(), nth.clone()).prop_map(|(at, nth)| Op::ReadVersion(at, nth)),
        5 => at().prop_map(Op::Delete),
        3 => (at(), nth.clone()).prop_map(|(at, nth)| Op::DeleteVersion(at, nth)),
        5 => (at(), at()).prop_map(|(from, to)| Op::Copy(from, to)),
        2 => at().prop_map(Op::BeginParts),
        6 => (nth.clone(), number.clone(), part, any::<u8>()).prop_map(|(nth, number, size, seed)| Op::PutPart(nth, number, size, seed)),
        2 => (nth.clone(), number, at(), 0.0..1.0, 0.0..1.0)
            .prop_map(|(nth, number, at, from, to)| Op::CopyPart(nth, number, at, from, to)),
        3 => nth.clone().prop_map(Op::Complete),
        1 => nth.clone().prop_map(Op::Abort),
        2 => (at(), prop::option::of(size())).prop_map(|(at, length)| Op::BeginUpload(at, length)),
        8 => (nth.clone(), size(), then).prop_map(|(nth, size, then)| Op::Append(nth, size, then)),
        1 => nth.clone().prop_map(Op::Settle),
        3 => nth.clone().prop_map(Op::Finish),
        1 => nth.prop_map(Op::Terminate),
        1 => Just(Op::RotateKeys),
        3 => underway.prop_map(Op::Crash),
    ]
}

struct Version {
    id: VersionId,
    etag: String,
    /// `None` in a delete marker.
    bytes: Option<Vec<u8>>,
}

struct Shelf {
    versioning: Versioning,
    /// Oldest first.
    keys: BTreeMap<&'static str, Vec<Version>>,
}

impl Shelf {
    fn latest(&self, key: &str) -> Option<&Version> {
        let newest = self.keys.get(key)?.last()?;
        newest.bytes.is_some().then_some(newest)
    }

    fn publish(&mut self, key: &'static str, published: &Published, bytes: Vec<u8>) {
        let object = &published.object;
        assert_eq!(object.size, bytes.len() as u64);
        self.push(
            key,
            object.version_id.clone(),
            object.etag.quoted(),
            Some(bytes),
        );
    }

    fn push(&mut self, key: &'static str, id: VersionId, etag: String, bytes: Option<Vec<u8>>) {
        assert_eq!(id.is_null(), self.versioning != Versioning::Enabled);
        let stack = self.keys.entry(key).or_default();
        stack.retain(|version| !id.is_null() || !version.id.is_null());
        stack.push(Version { id, etag, bytes });
    }

    fn usage(&self) -> (i64, i64) {
        let bytes = self
            .keys
            .values()
            .flatten()
            .filter_map(|version| version.bytes.as_ref());
        bytes.fold((0, 0), |(size, count), bytes| {
            (size + bytes.len() as i64, count + 1)
        })
    }
}

struct Parts {
    id: UploadId,
    at: At,
    parts: BTreeMap<u32, (String, Vec<u8>)>,
}

struct Growing {
    id: UploadId,
    at: At,
    length: Option<usize>,
    bytes: Vec<u8>,
    /// Bytes whose durability was acknowledged.
    durable: usize,
    session: Option<UploadSession>,
}

struct World {
    store: Store,
    dir: TempDir,
    clock: Clock,
    /// Directories of stores that crashed.
    past: Vec<TempDir>,
    shelves: BTreeMap<&'static str, Shelf>,
    parts: Vec<Parts>,
    uploads: Vec<Growing>,
}

fn content(size: usize, seed: u8) -> Vec<u8> {
    static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
    let all = NOISE.get_or_init(|| noise(PART + 1000 * 256, 1));
    all[1000 * usize::from(seed)..][..size].to_vec()
}

fn span(size: usize, from: f64, to: f64) -> std::ops::Range<usize> {
    let place = |share: f64| (share * (size + 1) as f64) as usize;
    place(from).min(place(to))..place(from).max(place(to)).min(size)
}

fn parsed((bucket, key): At) -> (BucketName, ObjectKey) {
    (bucket.parse().unwrap(), key.parse().unwrap())
}

async fn read(store: &Store, object: &Object) -> Vec<u8> {
    let body = store.reader(object).await.unwrap().body(0..object.size);
    body.collect().await.unwrap().to_bytes().to_vec()
}

/// Opens a store that lives by the given clock.
async fn open_at(dir: &TempDir, clock: &Clock) -> Store {
    let mut store = open(dir).await;
    let inner = Arc::get_mut(&mut store.0).expect("nobody else has it yet");
    inner.clock = clock.clone();
    store
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(1_000_000);
        let mut world = Self {
            store: open_at(&dir, &clock).await,
            dir,
            clock,
            past: Vec::new(),
            shelves: BTreeMap::new(),
            parts: Vec::new(),
            uploads: Vec::new(),
        };
        world.make_bucket(BUCKETS[0]).await;
        world
    }

    async fn apply(&mut self, op: Op) {
        match op {
            Op::MakeBucket(name) => self.make_bucket(name).await,
            Op::RemoveBucket(name) => self.remove_bucket(name).await,
            Op::Versioning(name, versioning) => self.set_versioning(name, versioning).await,
            Op::Put(at, size, seed, when) => self.put(at, content(size, seed), when).await,
            Op::Range(at, from, to) => self.range(at, from, to).await,
            Op::ReadVersion(at, nth) => self.read_version(at, nth).await,
            Op::Delete(at) => self.delete(at).await,
            Op::DeleteVersion(at, nth) => self.delete_version(at, nth).await,
            Op::Copy(from, to) => self.copy(from, to).await,
            Op::BeginParts(at) => self.begin_parts(at).await,
            Op::PutPart(nth, number, size, seed) => {
                self.put_part(nth, number, content(size, seed)).await;
            }
            Op::CopyPart(nth, number, at, from, to) => {
                self.copy_part(nth, number, at, from, to).await;
            }
            Op::Complete(nth) => self.complete(nth).await,
            Op::Abort(nth) => self.abort(nth).await,
            Op::BeginUpload(at, length) => self.begin_upload(at, length).await,
            Op::Append(nth, size, then) => self.append(nth, size, then).await,
            Op::Settle(nth) => self.settle(nth).await,
            Op::Finish(nth) => self.finish(nth).await,
            Op::Terminate(nth) => self.terminate(nth).await,
            Op::RotateKeys => drop(self.store.rotate_keys().await.unwrap()),
            Op::Crash(underway) => self.crash(underway).await,
        }
        self.compare_names().await;
    }
}

async fn play(ops: Vec<Op>) {
    let mut world = World::new().await;
    for op in ops {
        world.apply(op).await;
    }
    // The end is a crash as well: it compares everything and checks both ways.
    world.crash(Underway::Nothing).await;
}

#[test]
fn any_history_is_that_of_the_model() {
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() {
        Config::default().cases
    } else {
        CASES
    };
    let config = Config {
        cases,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..Config::default()
    };
    let histories = prop::collection::vec(op(), 1..OPS_MAX);
    let outcome = TestRunner::new(config).run(&histories, |ops| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(play(ops));
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

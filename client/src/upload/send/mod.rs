//! Sending the parts of one file until the node has every byte.
//!
//! The parts are begun and joined while the first of them is carried already: what is there of the file can be read from then on,
//! and the last byte of the last part makes the object.
//! So what an earlier call sent is held against the file before that byte: one part, the keystone, waits with its last block for the proof.

mod begin;

use super::{
    Options,
    body::Taken,
    plan::Plan,
    source::Source,
    state::{Head, Left, Notes, State},
    tus::{self, Piece, Target},
};
use crate::{
    Client, Error,
    backoff::{Backoff, Hope},
    lanes::{Carried, Lanes},
    sums,
    transfer::{Observer, Step},
};
use begin::{MAX_BEGINNINGS, no_conflict};
use futures::try_join;
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

/// A proxy that refuses larger bodies, or loses them, is sent smaller ones, down to here.
const LEAST_PATCH_BYTES: u64 = 256 << 10;
/// Files up to here are sent with the request that begins their upload.
const ONE_REQUEST_BYTES: u64 = LEAST_PATCH_BYTES;
/// So often in a row all that was sent is lost before less is sent at once.
const IN_VAIN: u32 = 2;

/// One upload under way.
pub(super) struct Sending<'a> {
    client: &'a Client,
    source: &'a Source,
    target: &'a Target,
    options: &'a Options,
    observer: &'a dyn Observer,
    notes: Notes,
    /// The name under which the node knows the parts as those of one file.
    name: String,
    plan: Plan,
    parts: Vec<Part>,
    wire: Taken,
    hope: Hope,
    lanes: Lanes,
    /// The most content one request carries.
    patch_bytes: AtomicU64,
    /// Whether an earlier call sent some of it, which is to be held against the file before the end.
    unproven: AtomicBool,
    /// The part whose last block waits for that; beyond all parts when the node has all of them.
    keystone: AtomicUsize,
    /// The address of the upload that joins the parts.
    joined: Mutex<Option<String>>,
    /// Whether it was told that the node has begun to receive the object.
    is_announced: AtomicBool,
}

/// One part of it.
struct Part {
    start: u64,
    length: u64,
    /// How much of it is there or on its way.
    position: Taken,
    known: Mutex<Known>,
    /// Held by whoever begins it.
    beginning: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    /// The address of its upload.
    url: Option<String>,
    /// What the node said it has; unknown after a failure.
    offset: Option<u64>,
    furthest: u64,
    beginnings: u32,
    /// Whether it may have been begun without our hearing of it.
    in_doubt: bool,
    /// Whether it was tried to begin it and send it in one request.
    tried_at_once: bool,
    /// How often in a row bytes were sent and none of them arrived.
    in_vain: u32,
}

impl Part {
    /// The node has this much.
    fn reached(&self, offset: u64) {
        self.position.set(offset);
        let mut known = self.known();
        known.offset = Some(offset);
        if offset > known.furthest {
            (known.furthest, known.in_vain) = (offset, 0);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Sending<'a> {
    /// Begins an upload, or takes up what an earlier call left; `wire` counts what the network takes.
    #[expect(
        clippy::too_many_arguments,
        reason = "the whole of a push, used in one place"
    )]
    pub(super) async fn new(
        client: &'a Client,
        source: &'a Source,
        target: &'a Target,
        options: &'a Options,
        observer: &'a dyn Observer,
        wire: &Taken,
        state: Option<&State>,
        left: Option<Left>,
    ) -> Result<Self, Error> {
        let index_at = super::plan::index_behind_media(source).await?;
        let mut noted = Vec::new();
        let mut joined = None;
        let unproven = left.as_ref().is_some_and(Left::has_begun);
        let (plan, name, mut urls) = match left {
            Some(left) => {
                joined = left.joined;
                for (block, sum) in left.sums {
                    source.tell(block, sum);
                    noted.push(block);
                }
                let plan = Plan::again(left.head.parts, index_at);
                (plan, left.head.name, left.urls)
            }
            None => {
                let size_bytes = source.size_bytes();
                let plan = Plan::of(size_bytes, index_at, target.plays(), options.lanes);
                let name = random_name();
                let head = Head {
                    server: client.origin(),
                    source: source.path().to_owned(),
                    bucket: target.bucket.clone(),
                    key: target.key.clone(),
                    content_type: target.content_type.clone(),
                    fingerprint: source.fingerprint().clone(),
                    name: name.clone(),
                    parts: plan.parts.clone(),
                };
                if let Some(state) = state {
                    state.begin(&head)?;
                }
                (plan, name, BTreeMap::new())
            }
        };
        let parts = plan.parts.iter().enumerate().map(|(n, (start, length))| {
            let known = Known {
                url: urls.remove(&n),
                ..Known::default()
            };
            Part {
                start: *start,
                length: *length,
                position: Taken::default(),
                known: Mutex::new(known),
                beginning: tokio::sync::Mutex::default(),
            }
        });
        Ok(Self {
            client,
            source,
            target,
            options,
            observer,
            notes: state
                .map(|state| state.notes(source.size_bytes(), noted.into_iter()))
                .unwrap_or_default(),
            name,
            parts: parts.collect(),
            plan,
            wire: wire.clone(),
            hope: Hope::new(&options.patience),
            lanes: Lanes::default(),
            patch_bytes: AtomicU64::new(options.patch_bytes.max(1)),
            unproven: AtomicBool::new(unproven),
            keystone: AtomicUsize::new(0),
            joined: Mutex::new(joined),
            is_announced: AtomicBool::new(false),
        })
    }

    /// Whether the node had forgotten some of it, so that it was begun more than once.
    pub(super) fn was_begun(&self) -> bool {
        self.parts.iter().any(|part| part.known().beginnings > 0)
    }

    /// Whether one upload carries the whole file.
    fn is_whole(&self) -> bool {
        self.parts.len() == 1
    }

    /// Sends until the node has every byte, and has made the object of them.
    pub(super) async fn run(&self) -> Result<(), Error> {
        self.ask_all().await?;
        if self.is_whole() {
            return self.carry_all().await;
        }
        for _ in 0..MAX_BEGINNINGS {
            self.begin_first().await?;
            try_join!(self.carry_all(), self.join())?;
            // Again, as the upload that joins them may have expired under a slow transfer; most often this only finds it.
            if self.join().await? {
                return Ok(());
            }
        }
        Err(self.forgetful())
    }

    fn position(&self) -> u64 {
        self.parts.iter().map(|part| part.position.bytes()).sum()
    }

    /// Carries every part.
    async fn carry_all(&self) -> Result<(), Error> {
        let told = AtomicUsize::new(1);
        let tell = |lanes: usize| {
            if lanes > 0 && told.swap(lanes, Ordering::Relaxed) != lanes {
                self.observer.step(Step::Lanes { lanes });
            }
            self.tell();
        };
        let order = self.plan.order.iter().copied().collect();
        let carry = |n| self.carry(n);
        let moved = || self.wire.bytes();
        self.lanes
            .carry_all(order, self.options.lanes, carry, moved, tell)
            .await
    }

    fn tell(&self) {
        self.observer.step(Step::Moved {
            offset_bytes: self.position(),
            wire_bytes: self.wire.bytes(),
        });
    }

    /// Sends one part until the node has it, or this lane is not wanted any more.
    async fn carry(&self, n: usize) -> Result<Carried, Error> {
        let part = &self.parts[n];
        let mut backoff = Backoff::with(&self.hope);
        loop {
            let before = part.known().furthest;
            let result = self.advance(n, part).await;
            if part.known().furthest > before {
                backoff.progress();
            }
            match result {
                Ok(true) => return Ok(Carried::Done),
                Ok(false) if self.lanes.is_one_too_many() => return Ok(Carried::Parked(n)),
                Ok(false) => {}
                Err(error) if error.is_passing() || is_conflict(&error) => {
                    part.known().offset = None;
                    self.lanes.failed();
                    self.wait(&mut backoff, error).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn wait(&self, backoff: &mut Backoff, error: Error) -> Result<(), Error> {
        let Some(wait) = backoff.next_wait(error.retry_after()) else {
            return Err(error);
        };
        self.observer.step(Step::Waiting {
            reason: error.to_string(),
            wait,
        });
        backoff.rest(wait).await;
        Ok(())
    }

    /// One step: create if need be, ask how far it is if that is not known, send one request's worth. Returns whether the node has all of the part.
    async fn advance(&self, n: usize, part: &Part) -> Result<bool, Error> {
        self.source.check_unchanged().await?;
        let (url, offset) = {
            let known = part.known();
            (known.url.clone(), known.offset)
        };
        let (url, offset) = match (url, offset) {
            (None, _) if self.may_go_at_once(part) => return self.send_at_once(part).await,
            (None, _) => {
                let (url, offset) = self.begin(n, part).await?;
                if part.length == 0 {
                    return self.patch(n, part, &url, 0).await;
                }
                (url, offset)
            }
            (Some(url), Some(offset)) => (url, offset),
            (Some(url), None) => match self.ask(n, part).await? {
                Some(offset) => (url, offset),
                None => return Ok(false),
            },
        };
        part.reached(offset);
        if offset == part.length {
            return Ok(true);
        }
        let before = part.position.bytes();
        match self.patch(n, part, &url, offset).await {
            Err(error) if tus::is_gone(&error) => self.forget(n, part).await.map(|()| false),
            Err(Error::Full(problem)) if problem.status == 413 && self.send_less(2) => Ok(false),
            Err(error) => {
                let is_in_vain = part.position.bytes().saturating_sub(before) >= LEAST_PATCH_BYTES;
                part.known().in_vain += u32::from(is_in_vain && error.is_passing());
                self.notice(part, part.length - offset);
                Err(error)
            }
            done => done,
        }
    }

    /// Whether something in between takes bodies and passes them on only once they are whole: then shorter ones get through.
    fn notice(&self, part: &Part, missing: u64) {
        let is_noticed = {
            let mut known = part.known();
            let is_noticed = known.in_vain >= IN_VAIN;
            if is_noticed {
                known.in_vain = 0;
            }
            is_noticed
        };
        if !is_noticed {
            return;
        }
        self.patch_bytes.fetch_min(missing, Ordering::Relaxed);
        if self.send_less(4) {
            let bytes = self.patch_bytes.load(Ordering::Relaxed);
            self.observer.step(Step::SendingLess { bytes });
        }
    }

    /// Whether a part is so short that it begins and ends with one request.
    fn may_go_at_once(&self, part: &Part) -> bool {
        let is_short = self.is_whole() && (1..=ONE_REQUEST_BYTES).contains(&part.length);
        // What an earlier call sent is asked about first.
        let is_new = !self.unproven.load(Ordering::Relaxed);
        is_short && is_new && !std::mem::replace(&mut part.known().tried_at_once, true)
    }

    /// Begins a short file's upload with its content. Returns whether the node has all of it.
    async fn send_at_once(&self, part: &Part) -> Result<bool, Error> {
        let piece = self.piece(0..part.length);
        let once = self.once(0);
        part.known().in_doubt = true;
        let begun = tus::create_with(self.client, self.target, &once, &piece, &part.position).await;
        let begun = match begun {
            // It may be the body that is too large for something in between.
            Err(Error::Full(problem)) if problem.status == 413 => {
                part.position.set(0);
                return Ok(false);
            }
            other => other.map_err(no_conflict)?,
        };
        let is_done = begun.offset == part.length;
        self.note_begun(0, part, begun, !is_done).await?;
        self.tell();
        Ok(is_done)
    }

    fn piece(&self, stretch: Range<u64>) -> Piece<'_> {
        Piece {
            source: self.source,
            notes: &self.notes,
            stretch,
            wire: &self.wire,
            stall: self.options.stall,
        }
    }

    async fn patch(&self, n: usize, part: &Part, url: &str, offset: u64) -> Result<bool, Error> {
        let start = part.start + offset;
        let length = self.patch_bytes.load(Ordering::Relaxed);
        let end_of_part = part.start + part.length;
        let mut end = end_of_part.min(start + length);
        // The last byte of the last part makes the object: what an earlier call sent is proven before.
        let is_keystone = n == self.keystone.load(Ordering::Relaxed);
        if is_keystone && end == end_of_part && self.unproven.load(Ordering::Relaxed) {
            let block_bytes = sums::block_bytes(self.source.size_bytes());
            let last = end.saturating_sub(1) / block_bytes * block_bytes;
            if start < last {
                end = last;
            } else {
                self.prove().await?;
            }
        }
        let piece = self.piece(start..end);
        let new = tus::patch(self.client, url, offset, &piece, &part.position).await?;
        part.reached(new);
        self.tell();
        Ok(new == part.length)
    }

    /// Holds the whole file against what was sent, also by earlier calls.
    async fn prove(&self) -> Result<(), Error> {
        if self.unproven.load(Ordering::Relaxed) {
            self.observer.step(Step::Comparing);
            self.source.hash().await?;
            self.unproven.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Sends so much less at once from now on, unless that is little already.
    fn send_less(&self, by: u64) -> bool {
        let less = self.patch_bytes.load(Ordering::Relaxed) / by;
        let is_enough = less >= LEAST_PATCH_BYTES;
        if is_enough {
            self.patch_bytes.store(less, Ordering::Relaxed);
        }
        is_enough
    }
}

/// 409: the node is at another offset than we thought; asking again settles it.
fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::Conflict(problem) if problem.status == 409)
}

/// 32 hex digits that nobody guesses.
pub(super) fn random_name() -> String {
    let mut bytes = [0; 32];
    // Without the system's randomness, the time and our own id still tell uploads apart.
    if getrandom::fill(&mut bytes).is_err() {
        let seed = format!("{:?} {}", std::time::SystemTime::now(), std::process::id());
        bytes = *blake3::hash(seed.as_bytes()).as_bytes();
    }
    blake3::Hash::from_bytes(bytes).to_hex()[..32].to_owned()
}

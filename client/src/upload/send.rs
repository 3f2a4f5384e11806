//! Sending the parts of one file until the node has every byte.

use super::{
    Options,
    body::Taken,
    plan::Plan,
    source::{Source, blocking},
    state::{Head, Left, Notes, State},
    tus::{self, Lane, Offset, Piece, Target},
};
use crate::{
    Client, Error,
    backoff::{Backoff, Hope},
    lanes::{Carried, Lanes},
    sums,
    transfer::{Observer, Step},
};
use futures::StreamExt as _;
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

/// How often one call begins a part anew because the node had forgotten it.
const MAX_BEGINNINGS: u32 = 5;
/// How many parts are asked about at once when an upload is taken up again.
const ASK_AT_ONCE: usize = 8;
/// A proxy that refuses larger bodies is sent smaller ones, down to here.
const LEAST_PATCH_BYTES: u64 = 256 << 10;

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
    patch_bytes: AtomicU64,
    /// Whether an earlier call sent some of it, which is to be held against the file before the end.
    unproven: AtomicBool,
}

/// One part of it.
struct Part {
    start: u64,
    length: u64,
    /// How much of it is there or on its way.
    position: Taken,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The address of its upload.
    url: Option<String>,
    /// What the node said it has; unknown after a failure.
    offset: Option<u64>,
    furthest: u64,
    beginnings: u32,
}

impl Part {
    /// The node has this much.
    fn reached(&self, offset: u64) {
        self.position.set(offset);
        let mut known = self.known();
        known.offset = Some(offset);
        known.furthest = known.furthest.max(offset);
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
        let (plan, name, mut urls) = match left {
            Some(left) => {
                for (block, sum) in left.sums {
                    source.tell(block, sum);
                    noted.push(block);
                }
                let plan = Plan::again(left.head.parts, index_at);
                (plan, left.head.name, left.urls)
            }
            None => {
                let plan = Plan::of(source.size_bytes(), index_at, options.lanes);
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
            }
        });
        let sending = Self {
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
            hope: Hope::new(options.patience),
            lanes: Lanes::default(),
            patch_bytes: AtomicU64::new(options.patch_bytes.max(1)),
            unproven: AtomicBool::new(false),
        };
        sending.ask_all().await;
        Ok(sending)
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
        loop {
            self.carry_all().await?;
            if self.is_whole() {
                return Ok(());
            }
            self.prove().await?;
            if self.join().await? {
                return Ok(());
            }
        }
    }

    /// Gives up what the node has of it. Best effort: what stays behind expires there.
    pub(super) async fn terminate(&self) {
        let urls = self.parts.iter().filter_map(|part| part.known().url.take());
        futures::stream::iter(urls)
            .for_each_concurrent(ASK_AT_ONCE, async |url| {
                let _ = tus::terminate(self.client, &url).await;
            })
            .await;
    }

    /// Asks how far the parts are that an earlier call began.
    async fn ask_all(&self) {
        let begun = self.parts.iter().filter(|part| part.known().url.is_some());
        futures::stream::iter(begun)
            .for_each_concurrent(ASK_AT_ONCE, async |part| {
                let url = part.known().url.clone().unwrap_or_default();
                // What cannot be asked now is asked again by the lane that carries it.
                if let Ok(Offset::At(at)) = tus::offset(self.client, &url, Some(part.length)).await
                {
                    part.position.set(at);
                    let mut known = part.known();
                    (known.offset, known.furthest) = (Some(at), at);
                }
            })
            .await;
        let offset_bytes = self.position();
        if self.parts.iter().any(|part| part.known().url.is_some()) {
            self.unproven.store(true, Ordering::Relaxed);
            if offset_bytes > 0 {
                self.observer.step(Step::Resumed { offset_bytes });
            }
        }
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
        tokio::time::sleep(wait).await;
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
            (None, _) => {
                let url = self.begin(n, part).await?;
                if part.length == 0 {
                    return self.patch(part, &url, 0).await;
                }
                (url, 0)
            }
            (Some(url), Some(offset)) => (url, offset),
            (Some(url), None) => match tus::offset(self.client, &url, Some(part.length)).await? {
                Offset::At(offset) => (url, offset),
                Offset::Gone => return self.forget(n, part).map(|()| false),
            },
        };
        part.reached(offset);
        if offset == part.length {
            return Ok(true);
        }
        match self.patch(part, &url, offset).await {
            Err(error) if tus::is_gone(&error) => self.forget(n, part).map(|()| false),
            Err(Error::Full(problem)) if problem.status == 413 && self.send_less() => Ok(false),
            other => other,
        }
    }

    async fn patch(&self, part: &Part, url: &str, offset: u64) -> Result<bool, Error> {
        let start = part.start + offset;
        let length = self.patch_bytes.load(Ordering::Relaxed);
        let mut end = (part.start + part.length).min(start + length);
        // The last byte of an upload of the whole makes the object: what an earlier call sent is proven before.
        if self.is_whole() && end == part.length && self.unproven.load(Ordering::Relaxed) {
            let last = (end - 1) / sums::block_bytes(part.length) * sums::block_bytes(part.length);
            if start < last {
                end = last;
            } else {
                self.prove().await?;
            }
        }
        let piece = Piece {
            source: self.source,
            notes: &self.notes,
            stretch: start..end,
            wire: &self.wire,
            stall: self.options.stall,
        };
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

    async fn begin(&self, n: usize, part: &Part) -> Result<String, Error> {
        if part.known().beginnings >= MAX_BEGINNINGS {
            return Err(Error::NotNebula {
                url: self.client.origin(),
                reason: "it keeps forgetting the upload".into(),
            });
        }
        let lane = (!self.is_whole()).then(|| Lane {
            group: &self.name,
            start: part.start,
            total: self.source.size_bytes(),
        });
        let length = Some(part.length);
        let once = format!("{}-{n}", self.name);
        let created = tus::create(self.client, length, self.target, lane.as_ref(), &once).await;
        let url = created.map_err(|error| match error {
            // Here it says that this cannot be begun, not that we are somewhere else.
            Error::Conflict(problem) => Error::Said(problem),
            other => other,
        })?;
        part.known().beginnings += 1;
        self.note(n, Some(url.clone())).await?;
        part.known().url = Some(url.clone());
        Ok(url)
    }

    /// The node has forgotten the part: the next step begins it anew.
    fn forget(&self, n: usize, part: &Part) -> Result<(), Error> {
        part.position.set(0);
        {
            let mut known = part.known();
            (known.url, known.offset, known.furthest) = (None, None, 0);
        }
        self.observer.step(Step::StartedAnew);
        self.notes.part(n, None)
    }

    async fn note(&self, n: usize, url: Option<String>) -> Result<(), Error> {
        let notes = self.notes.clone();
        blocking(move || notes.part(n, url.as_deref())).await
    }

    /// Has the object made of the parts. False when the node has forgotten one of them.
    async fn join(&self) -> Result<bool, Error> {
        let mut backoff = Backoff::with(&self.hope);
        loop {
            let urls: Vec<String> = self
                .parts
                .iter()
                .filter_map(|part| part.known().url.clone())
                .collect();
            let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
            match tus::join(self.client, self.target, &urls).await {
                Ok(()) => return Ok(true),
                Err(error) if tus::is_gone(&error) => {
                    for part in &self.parts {
                        part.known().offset = None;
                    }
                    return Ok(false);
                }
                Err(error) if error.is_passing() => self.wait(&mut backoff, error).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Something between here and the node takes no body as long as ours.
    fn send_less(&self) -> bool {
        let now = self.patch_bytes.load(Ordering::Relaxed);
        self.patch_bytes.store(now / 2, Ordering::Relaxed);
        now / 2 >= LEAST_PATCH_BYTES
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

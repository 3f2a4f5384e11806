//! The parts on the node: begun, asked about, joined, given up.

use super::{Part, Sending};
use crate::{
    Error,
    backoff::Backoff,
    transfer::Step,
    upload::{
        source::blocking,
        tus::{self, Begun, Lane, Offset},
    },
};
use futures::{StreamExt as _, TryStreamExt as _};
use std::sync::{MutexGuard, PoisonError, atomic::Ordering};

/// How often one call begins a part anew because the node had forgotten it.
pub(super) const MAX_BEGINNINGS: u32 = 5;
/// How many parts are asked about at once when an upload is taken up again.
const ASK_AT_ONCE: usize = 8;

impl Sending<'_> {
    /// Gives up what the node has of it. Best effort: what stays behind expires there.
    pub(in super::super) async fn terminate(&self) {
        let joined = self.joined().take();
        let parts = self.parts.iter().enumerate();
        futures::stream::iter(parts)
            .for_each_concurrent(ASK_AT_ONCE, async |(n, part)| {
                let (url, is_in_doubt) = {
                    let mut known = part.known();
                    (known.url.take(), known.in_doubt)
                };
                let url = match url {
                    // Its address was on its way to us: asked for again, the same one is told.
                    None if is_in_doubt => self.create(n, part).await.ok().map(|begun| begun.url),
                    known => known,
                };
                if let Some(url) = url {
                    let _ = tus::terminate(self.client, &url).await;
                }
            })
            .await;
        if let Some(url) = joined {
            let _ = tus::terminate(self.client, &url).await;
        }
    }

    /// Asks how far the parts are that an earlier call began, until the node can say it.
    pub(super) async fn ask_all(&self) -> Result<(), Error> {
        let begun = self.parts.iter().enumerate();
        let begun = begun.filter(|(_, part)| part.known().url.is_some());
        futures::stream::iter(begun.map(Ok))
            .try_for_each_concurrent(ASK_AT_ONCE, async |(n, part)| {
                let mut backoff = Backoff::with(&self.hope);
                loop {
                    match self.ask(n, part).await {
                        Ok(Some(at)) => {
                            part.position.set(at);
                            let mut known = part.known();
                            (known.offset, known.furthest) = (Some(at), at);
                            return Ok(());
                        }
                        Ok(None) => return Ok(()),
                        Err(error) if error.is_passing() => self.wait(&mut backoff, error).await?,
                        Err(error) => return Err(error),
                    }
                }
            })
            .await?;
        let order = self.plan.order.iter().copied();
        let unfinished = |n: &usize| {
            let part = &self.parts[*n];
            part.known().offset != Some(part.length)
        };
        let keystone = order.rev().find(unfinished).unwrap_or(self.parts.len());
        self.keystone.store(keystone, Ordering::Relaxed);
        let offset_bytes = self.position();
        if offset_bytes > 0 {
            self.observer.step(Step::Resumed { offset_bytes });
        }
        if self.is_whole() && self.parts[0].known().url.is_some() {
            self.announce();
        }
        Ok(())
    }

    /// Asks how far a part is; none when the node has forgotten it.
    pub(super) async fn ask(&self, n: usize, part: &Part) -> Result<Option<u64>, Error> {
        let url = part.known().url.clone().unwrap_or_default();
        let (offset, most) = tus::offset(self.client, &url, Some(part.length)).await?;
        self.heed(most);
        match offset {
            Offset::At(at) => Ok(Some(at)),
            Offset::Gone => self.forget(n, part).await.map(|()| None),
        }
    }

    /// Says once that the node has begun to receive the object.
    pub(super) fn announce(&self) {
        if !self.is_announced.swap(true, Ordering::Relaxed) {
            let plays = self.target.plays();
            self.observer.step(Step::Begun { plays });
        }
    }

    /// Keeps to the largest body that the node asks for.
    fn heed(&self, body_bytes_max: Option<u64>) {
        if let Some(most) = body_bytes_max {
            self.patch_bytes.fetch_min(most, Ordering::Relaxed);
        }
    }

    /// Has a part's upload begun, if it is not. Returns its address, and what the node has of it.
    pub(super) async fn begin(&self, n: usize, part: &Part) -> Result<(String, u64), Error> {
        let _turn = part.beginning.lock().await;
        {
            let known = part.known();
            if let Some(url) = &known.url {
                return Ok((url.clone(), known.offset.unwrap_or(0)));
            }
            if known.beginnings >= MAX_BEGINNINGS {
                return Err(self.forgetful());
            }
        }
        part.known().in_doubt = true;
        let begun = self.create(n, part).await.map_err(no_conflict)?;
        let at = (begun.url.clone(), begun.offset);
        self.note_begun(n, part, begun, true).await?;
        if self.is_whole() {
            self.announce();
        }
        Ok(at)
    }

    async fn begin_patiently(&self, n: usize, part: &Part) -> Result<(), Error> {
        let mut backoff = Backoff::with(&self.hope);
        loop {
            match self.begin(n, part).await {
                Err(error) if error.is_passing() => self.wait(&mut backoff, error).await?,
                begun => return begun.map(drop),
            }
        }
    }

    /// Begins the first of several parts before all others: the node makes the file with it, and several first ones would each ask for the space of the whole.
    pub(super) async fn begin_first(&self) -> Result<(), Error> {
        if self.parts.iter().any(|part| part.known().url.is_some()) {
            return Ok(());
        }
        match self.plan.order.first() {
            Some(n) => self.begin_patiently(*n, &self.parts[*n]).await,
            None => Ok(()),
        }
    }

    async fn create(&self, n: usize, part: &Part) -> Result<Begun, Error> {
        let lane = (!self.is_whole()).then(|| Lane {
            group: &self.name,
            start: part.start,
            total: self.source.size_bytes(),
        });
        let (length, once) = (Some(part.length), self.once(n));
        tus::create(self.client, length, self.target, lane.as_ref(), &once).await
    }

    /// The name of a creation: repeated, it is found again.
    pub(super) fn once(&self, n: usize) -> String {
        format!("{}-{n}", self.name)
    }

    /// Takes in that a part was begun; in the journal too, unless it is over with that.
    pub(super) async fn note_begun(
        &self,
        n: usize,
        part: &Part,
        begun: Begun,
        is_to_go_on: bool,
    ) -> Result<(), Error> {
        self.heed(begun.body_bytes_max);
        if is_to_go_on {
            let (notes, url) = (self.notes.clone(), begun.url.clone());
            blocking(move || notes.part(n, Some(&url))).await?;
        }
        {
            let mut known = part.known();
            known.beginnings += 1;
            known.in_doubt = false;
            known.url = Some(begun.url);
        }
        part.reached(begun.offset);
        Ok(())
    }

    /// The node has forgotten the part: the next step begins it anew.
    pub(super) async fn forget(&self, n: usize, part: &Part) -> Result<(), Error> {
        part.position.set(0);
        {
            let mut known = part.known();
            (known.url, known.offset, known.furthest) = (None, None, 0);
        }
        self.observer.step(Step::StartedAnew);
        let joined = self.joined().take();
        if let Some(url) = joined {
            // It waits for a part that never comes. Best effort: it expires.
            let _ = tus::terminate(self.client, &url).await;
        }
        let notes = self.notes.clone();
        blocking(move || notes.part(n, None)).await
    }

    fn joined(&self) -> MutexGuard<'_, Option<String>> {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has every part begun and the object made of them: at once, or with their last byte. False when the node has forgotten one of them.
    pub(super) async fn join(&self) -> Result<bool, Error> {
        let missing = self.parts.iter().enumerate();
        let missing = missing.filter(|(_, part)| part.known().url.is_none());
        futures::stream::iter(missing.map(Ok))
            .try_for_each_concurrent(ASK_AT_ONCE, async |(n, part)| {
                self.begin_patiently(n, part).await
            })
            .await?;
        if self.keystone.load(Ordering::Relaxed) == self.parts.len() {
            self.prove().await?;
        }
        let mut backoff = Backoff::with(&self.hope);
        loop {
            let urls = self.parts.iter().map(|part| part.known().url.clone());
            let Some(urls) = urls.collect::<Option<Vec<_>>>() else {
                // One was forgotten in this moment.
                return Ok(false);
            };
            let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
            match tus::join(self.client, self.target, &urls).await {
                Ok(url) => {
                    let before = self.joined().replace(url.clone());
                    if before.as_ref() != Some(&url) {
                        let notes = self.notes.clone();
                        blocking(move || notes.joined(&url)).await?;
                    }
                    self.announce();
                    return Ok(true);
                }
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

    pub(super) fn forgetful(&self) -> Error {
        Error::NotNebula {
            url: self.client.origin(),
            reason: "it keeps forgetting the upload".into(),
        }
    }
}

/// Where an upload is begun, a conflict says that it cannot be, not that we are somewhere else.
pub(super) fn no_conflict(error: Error) -> Error {
    match error {
        Error::Conflict(problem) => Error::Said(problem),
        other => other,
    }
}

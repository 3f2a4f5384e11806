//! Carrying the pieces of one transfer on several lanes at once, as many as pay ([`crate::pace`]).

use crate::{Error, pace::Pace};
use futures::{StreamExt as _, stream::FuturesUnordered};
use std::{
    collections::VecDeque,
    future::Future,
    sync::atomic::{AtomicU32, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

/// How often progress is told.
const TELL: Duration = Duration::from_millis(100);

/// The lanes of one transfer.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    wanted: AtomicUsize,
    busy: AtomicUsize,
    failures: AtomicU32,
}

/// How a lane came back.
#[derive(Debug)]
pub(crate) enum Carried {
    Done,
    /// There were more lanes than are wanted: this piece waits for one.
    Parked(usize),
}

impl Lanes {
    /// Notes a failure: there may be too many lanes.
    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a lane that could pause here is to do so.
    pub(crate) fn is_one_too_many(&self) -> bool {
        let busy = self.busy.load(Ordering::Relaxed);
        let too_many = busy > self.wanted.load(Ordering::Relaxed);
        if too_many {
            self.busy.store(busy - 1, Ordering::Relaxed);
        }
        too_many
    }

    /// Carries all pieces, in this order.
    ///
    /// `moved` says how many bytes went over the wire so far; `tell` is called now and then with the number of lanes.
    pub(crate) async fn carry_all<F: Future<Output = Result<Carried, Error>>>(
        &self,
        mut waiting: VecDeque<usize>,
        most: u32,
        carry: impl Fn(usize) -> F,
        moved: impl Fn() -> u64,
        tell: impl Fn(usize),
    ) -> Result<(), Error> {
        let mut pace = Pace::new(most, Instant::now(), moved());
        let mut running = FuturesUnordered::new();
        let mut tick = tokio::time::interval(TELL);
        loop {
            self.wanted.store(pace.lanes(), Ordering::Relaxed);
            while running.len() < pace.lanes()
                && let Some(piece) = waiting.pop_front()
            {
                running.push(carry(piece));
            }
            self.busy.store(running.len(), Ordering::Relaxed);
            tokio::select! {
                carried = running.next() => match carried {
                    Some(Ok(Carried::Done)) => {}
                    Some(Ok(Carried::Parked(piece))) => waiting.push_front(piece),
                    Some(Err(error)) => {
                        tell(0);
                        return Err(error);
                    }
                    None => break,
                },
                _ = tick.tick() => {
                    tell(running.len());
                    let failures = self.failures.load(Ordering::Relaxed);
                    pace.measure(Instant::now(), moved(), running.len(), failures);
                }
            }
        }
        tell(0);
        Ok(())
    }
}

//! `nebula-worker`: one process, one media job, enclosed before it looks at a stranger's bytes.
//!
//! The order is the point: read the job from the parent (the only trusted input), set resource limits, open the GPU and
//! let its driver load, forbid the file system and the network (landlock), forbid all but a few system calls (seccomp),
//! say hello, and only then parse. See the library's introduction for descriptors and messages.

#![expect(
    unsafe_code,
    reason = "FFmpeg is a C library; each block says why it is sound"
)]

mod av;
mod control;
mod failure;
mod filters;
mod index;
mod ladder;
mod probe;
mod sandbox;
mod source;
mod storyboard;
mod subtitles;
mod usage;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;

use nebula_hwaccel::protocol::{self, Failure, FromWorker, Job, JobSpec, Summary};

use control::Link;
use failure::JobError;
use source::Source;

fn main() -> ExitCode {
    let (link, spec) = match Link::open() {
        Ok(opened) => opened,
        Err(error) => {
            eprintln!(
                "nebula-worker: {error}\nThis program is started by nebulad with a socket as descriptor {}; it is not for the command line.",
                protocol::CONTROL_FD
            );
            return ExitCode::from(2);
        }
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| work(&link, &spec))).unwrap_or_else(|_| {
        Err(JobError::new(
            Failure::Internal,
            "the worker made a mistake (panic)",
        ))
    });
    let last = match outcome {
        Ok(summary) => FromWorker::Done(summary),
        Err(_) if link.cancelled() => JobError::cancelled().into_message(),
        Err(error) => error.into_message(),
    };
    if link.send(&last).is_err() {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Encloses this process and does the job.
fn work(link: &Arc<Link>, spec: &JobSpec) -> Result<Summary, JobError> {
    let started = usage::Clock::start();
    sandbox::limit(&spec.limits)?;
    let source = Source::open(&spec.input, link)?;
    av::init();
    let hardware = match &spec.job {
        Job::Ladder(ladder) => probe::open(&ladder.acceleration),
        Job::Probe { devices } => probe::enumerate(devices),
        Job::Index { .. }
        | Job::Follow
        | Job::Subtitles { .. }
        | Job::Storyboard(_)
        | Job::Selftest => probe::Hardware::none(),
    };
    let sandbox = sandbox::enclose(hardware.any())?;
    link.start_listening()?;
    link.send(&FromWorker::Hello {
        version: protocol::VERSION,
        sandbox,
    })?;
    let mut summary = match &spec.job {
        Job::Index { poster } => index::run(link, &source, *poster),
        Job::Follow => index::follow(link, &source),
        Job::Subtitles { tracks } => subtitles::run(link, &source, tracks),
        Job::Storyboard(spec) => storyboard::run(link, &source, spec),
        Job::Ladder(ladder) => ladder::run(link, &source, ladder, &hardware),
        Job::Probe { .. } => probe::run(link, &hardware),
        Job::Selftest => sandbox::selftest(link),
    }?;
    link.check()?;
    summary.read_bytes = source.read_bytes();
    started.finish(&mut summary);
    Ok(summary)
}

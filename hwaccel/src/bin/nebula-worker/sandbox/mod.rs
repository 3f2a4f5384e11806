//! What keeps a bug in a decoder from becoming anything else.
//!
//! [`limit`] first (memory, CPU time, files, no core dump), then whoever needs a GPU opens it, then [`enclose`]:
//! landlock takes away the file system, TCP and signals to others, seccomp all but the system calls in `calls.rs`.
//! Nothing can be opened, connected, executed or forked afterwards, and no page can become executable.

mod calls;
mod selftest;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus,
    Scope,
};
use nebula_hwaccel::protocol::{Failure, Landlock, Limits, SandboxReport};
use rlimit::Resource;

use crate::failure::JobError;

pub use selftest::run as selftest;

/// Open descriptors: the three standard ones, the socket, the object, and what a GPU driver wants.
const FILES_MAX: u64 = 64;
/// Largest file that may be written. Nothing is written but diagnostics, if standard error is a file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Each malloc arena reserves 64 MiB of address space, so that many threads must share a few.
const ARENAS: i32 = 4;

/// Sets the resource limits of this process for good.
pub fn limit(limits: &Limits) -> Result<(), JobError> {
    // SAFETY: mallopt takes two integers and is called before any other thread exists.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
    let wanted = [
        (Resource::AS, limits.memory_bytes),
        (Resource::CPU, limits.cpu_s.max(1)),
        (Resource::CORE, 0),
        (Resource::NOFILE, FILES_MAX),
        (Resource::FSIZE, FILE_BYTES_MAX),
    ];
    for (resource, value) in wanted {
        let value = resource.get_hard().map_or(value, |hard| value.min(hard));
        resource.set(value, value).map_err(|error| {
            JobError::new(
                Failure::Internal,
                format!("the limit {} cannot be set: {error}", resource.as_name()),
            )
        })?;
    }
    Ok(())
}

/// Closes the sandbox; `gpu` when a render node is open and its driver must go on talking to it.
pub fn enclose(gpu: bool) -> Result<SandboxReport, JobError> {
    let failed = |error: &dyn std::fmt::Display| {
        JobError::new(Failure::Internal, format!("no sandbox: {error}"))
    };
    let abi = ABI::V6;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(abi)))
        .and_then(|rules| rules.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(|error| failed(&error))?;
    let (landlock, note) = match status.ruleset {
        RulesetStatus::FullyEnforced => (Landlock::Full, None),
        RulesetStatus::PartiallyEnforced => (
            Landlock::Partial,
            Some("this kernel's landlock knows only a part of the rules; seccomp holds the rest"),
        ),
        RulesetStatus::NotEnforced => (
            Landlock::Unsupported,
            Some("this kernel has no landlock; seccomp alone holds"),
        ),
    };
    let system_calls = calls::restrict(gpu).map_err(|error| failed(&error))?;
    Ok(SandboxReport {
        landlock,
        system_calls,
        note: note.map(str::to_owned),
    })
}

//! Hardware-accelerated media work behind a process boundary.
//!
//! This crate is two things that must not be confused:
//!
//! - the **library** `nebula_hwaccel`: plain data and pure functions, no FFmpeg, no `unsafe`, no I/O.
//!   A daemon links it to talk with workers without linking libav;
//! - the **binary** `nebula-worker`: one short-lived, sandboxed process that runs exactly one job with FFmpeg.
//!
//! # How a worker is run
//!
//! The parent makes a stream socket pair, clears the environment (keeping only `LIBVA_*` where a GPU is to be used)
//! and spawns `nebula-worker` with
//!
//! | descriptor | what it is |
//! |---|---|
//! | [`protocol::CONTROL_FD`] (3) | the worker's end of the socket pair, blocking |
//! | [`protocol::INPUT_FD`] (4) | the object, opened for reading; only with [`protocol::Input::Fd`] |
//!
//! and no arguments; standard error may be kept for diagnostics.
//! The conversation, each message a `u32` little-endian length and that many bytes of postcard:
//!
//! ```text
//! parent                                 worker
//!   Job{version, spec}        ──►        reads it, sets rlimits, opens a GPU if asked, landlock, seccomp
//!                             ◄──        Hello{version, sandbox}
//!                             ◄──        ReadRange{offset, len}        (Input::Ranges and Input::Arriving, one at a time)
//!   Bytes | ReadFailed        ──►
//!                             ◄──        Progress | Index | IndexSoFar | Poster | Texts | Pictures | Sheet | RungInit | Segment | Probe | Selftest   (any number)
//!   Cancel                    ──►        (at any moment)
//!                             ◄──        Done | Failed                 (exactly one, the last message)
//! ```
//!
//! A worker that closes the socket without `Done` or `Failed` has crashed: that is a failed job and nothing more.
//! A worker that says nothing for longer than the parent likes is the parent's to kill.
//! When the parent's end closes, the worker stops by itself.
//!
//! The modules: [`protocol`] the messages and their framing, [`index`] what is known about a media file and where each
//! sample of it lies, [`fmp4`] CMAF init segments and fragments, [`codecs`] RFC 6381 names, [`choice`] which encoder to
//! take, [`geometry`] what size a rung has, [`plan`] which segments share one encoder, [`subtitle`] texts and pictures over a film.

pub mod choice;
pub mod codecs;
pub mod fmp4;
pub mod geometry;
pub mod index;
pub mod plan;
pub mod protocol;
pub mod subtitle;

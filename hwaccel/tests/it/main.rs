//! The worker binary, driven as a daemon drives it: over a socket pair, with films made by the `ffmpeg` command and
//! with real ones where they are there.

#![expect(unsafe_code, reason = "handing descriptors to a child needs pre_exec")]

mod films;
mod hardware;
mod hostile;
mod indexing;
mod ladder;
mod sandbox;
mod worker;

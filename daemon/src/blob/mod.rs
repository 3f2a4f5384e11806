//! Bytes on disk: write, read, verify, sweep, space.

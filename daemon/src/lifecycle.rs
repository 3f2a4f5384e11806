//! Start, drain and stop of the daemon.

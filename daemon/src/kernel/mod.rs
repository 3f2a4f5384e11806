//! Ids, names, ranges, ETags, clock and limits: no I/O, no async.

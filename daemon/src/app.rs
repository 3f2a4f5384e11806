//! Wiring: the only place that sees every room.

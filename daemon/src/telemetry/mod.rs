//! Metric names, log set-up, health.

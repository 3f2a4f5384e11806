//! End-to-end tests, and the tests of the repository's own shape.

mod deploy;
mod tidy;
mod units;

//! End-to-end tests, the stories of rooms over real servers, and the tests of the repository's own shape.

mod api;
mod catalog;
mod console;
mod deploy;
mod queue;
mod s3;
mod startup;
mod tidy;
mod units;

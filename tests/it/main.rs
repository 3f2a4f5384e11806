//! End-to-end tests, the stories of rooms over real servers, and the tests of the repository's own shape.

#![expect(
    clippy::large_futures,
    reason = "those of the AWS SDK are, and nobody waits for a test"
)]

mod api;
mod arriving;
mod backup;
mod bad_input;
mod browser;
mod catalog;
mod console;
mod crash;
mod deploy;
mod disks;
mod elsewhere;
mod exact;
mod failures;
mod faults;
mod foreign;
mod hostile;
mod power;
mod queue;
mod ranges;
mod resume;
mod s3;
mod startup;
mod story;
mod sync;
mod tidy;
mod tracks;
mod transfers;
mod tus_extensions;
mod units;
mod uploads;

//! End-to-end tests, the stories of rooms over real servers, and the tests of the repository's own shape.

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
mod power;
mod queue;
mod ranges;
mod resume;
mod s3;
mod startup;
mod story;
mod tidy;
mod transfers;
mod tus_extensions;
mod units;

//! What the end-to-end tests share: the programs, whole appliances, private servers, films, and waiting without sleeping.
#![forbid(unsafe_code)]

mod appliance;
mod binary;
pub mod browser;
mod cli;
pub mod faults;
pub mod films;
pub mod foreign;
mod limit;
pub mod postgres;
pub mod redis;
mod seed;
pub mod wait;

pub use appliance::{Appliance, Setup};
pub use binary::binary;
pub use cli::{Cli, Ran};
pub use limit::within;
pub use seed::Seed;

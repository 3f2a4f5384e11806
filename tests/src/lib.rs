//! What the end-to-end tests share: the binaries, private servers, and waiting without sleeping.
#![forbid(unsafe_code)]

mod binary;
pub mod postgres;
pub mod redis;
pub mod wait;

pub use binary::binary;

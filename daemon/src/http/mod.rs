//! Pieces that the doors share.
//!
//! A request passes [`context`] first: it gets the [`Gate`], and its answer a [`RequestId`] and the security headers.
//! A handler that takes a [`crate::identity::Caller`] gets it from the gate (Basic, else tailnet, else nobody); [`require`] asks for each right, [`require_here`] where a bucket has a say, and [`audited`] notes what changed.
//! Paths become names in [`path`], errors a [`Problem`], and an object's bytes an answer in [`serve_object`]: conditions, ranges and headers by RFC 9110, over whatever body the caller opens.
//!
//! The deciding parts ([`condition`], [`ranges`], [`path`], [`content_type`]) are pure functions.
//! The room knows no bucket, no object and no file: it is told sizes, tags and times.

mod audited;
pub mod condition;
pub mod content_type;
mod context;
mod cors;
mod gate;
pub mod host;
mod linger;
mod multipart;
pub mod path;
mod player;
mod problem;
pub mod ranges;
mod representation;
mod store_problem;
#[cfg(test)]
mod tests;
mod throttle;

pub use audited::{audited, identity_of, permit};
pub use context::{OBJECT_CSP, REQUEST_ID, RequestId, context, in_context, secure};
pub use cors::{media_cors, media_preflight};
pub use gate::{Credential, Gate, PeerAddr, require, require_here};
pub use linger::Lingering;
pub use multipart::Multipart;
pub use player::{stated_player, user_agent};
pub use problem::Problem;
pub use representation::{Representation, dlna, serve_object};
pub use throttle::FAILURES_MAX;

//! Films: looked at once, cut on one grid, served from their own bytes, made smaller where that helps.
//!
//! What is promised: the playlist is the truth. Its cuts are keyframes of the source, its durations are those of the
//! segments, and a segment's samples are the source's own, packet for packet. Nothing is written to serve an original.
//!
//! How data passes. A published object that looks like media leaves an `index` job ([`planner`]). A [`Worker`] leases it
//! and runs one sandboxed process for it ([`process`]), which sends back an index of every sample and a poster; these
//! become the asset, keyed by content, so that copies and renames cost nothing. From the index alone follow the grid
//! (`timeline`), the playlists (`hls`, `dash`) and the heads of segments (`cmaf`), whose bodies are ranges of the object.
//! Where it is worth it a `ladder` job follows, whose segments are kept as they arrive and appear under the same
//! address when a rung is whole. What nobody watches gives way when their room is used up (`budget`), and is made again.
//!
//! An upload that somebody plays is followed by a process of its own, which tells the index again as it grows (`arriving`,
//! `follower`, `growing`).
//!
//! What it refuses to know: containers. The daemon parses no byte that a stranger sent; it reads indexes, whose reading
//! is bounded. A crash, a hang or a bomb in a worker is a failed job with a reason.

mod arriving;
mod bench;
pub mod beside;
mod budget;
mod cache;
pub mod chapters;
mod chosen;
mod cmaf;
mod dash;
pub mod decide;
mod extra;
mod film;
mod follow;
mod follower;
mod growing;
mod hls;
#[cfg(test)]
mod hostile;
pub mod info;
mod ladder;
pub mod language;
mod leaf;
mod library;
mod mend;
pub mod naming;
mod order;
mod packaged;
mod payload;
pub mod pictures;
mod plan;
mod playlist;
mod probe;
mod process;
mod remote;
pub mod sounds;
pub mod storyboard;
pub mod texts;
mod timeline;
mod viewers;
pub mod webvtt;
mod worker;

pub use arriving::{FollowError, Following, View};
pub use chosen::{Chosen, ChosenHardware};
pub use extra::{Extra, TextName};
pub use film::{CopiedTrack, Film};
pub use hls::{Master, RenditionList, Whole, tag as content_tag};
pub use ladder::Planned;
pub use ladder::RungSetting;
pub use leaf::Leaf;
pub use library::{Look, Media, MediaError, MediaParts};
pub use order::{About, Opening, Order, REPORT_BYTES_MAX, Report};
pub use packaged::{Packaged, Part, Piece, span as piece_span};
pub use plan::{looks_like_media, may_be_played, planner};
pub use probe::{Trial, trials};
pub use process::{RangeRead, Source};
pub use remote::Remote;
pub use viewers::{Asked, Viewer, ViewerKey, Viewers};
pub use worker::{BenchError, Hardware, Workbench, Worker, WorkerOptions};

pub use crate::queue::Job;

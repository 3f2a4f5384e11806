//! The words spoken between the daemon and a worker, and how they are framed.
//!
//! Both ends are of one release; [`VERSION`] only makes a mix-up visible.
//! The functions work on bytes, so that either side may be blocking or asynchronous:
//! [`encode`] gives a whole frame, [`frame_length`] reads a length prefix, [`decode`] reads the body.
//! Nothing here trusts the other side: lengths are bounded by [`MAX_FRAME_BYTES`] and a body must be used up exactly.

mod message;
mod raw;

use serde::{Serialize, de::DeserializeOwned};

pub use message::{
    Acceleration, AudioSpec, Failure, FromWorker, Input, Job, JobSpec, LadderSpec, Landlock,
    Limits, PictureTrack, Preset, ProbeEntry, ProbeReport, ReadReply, RungInit, RungKind, RungSpec,
    SandboxReport, Segment, SelftestReport, Sheet, Stage, StoryboardSpec, Summary, TextTrack,
    ToWorker,
};

/// Version of this protocol; both ends of one release speak the same.
pub const VERSION: u32 = 2;
/// Descriptor on which a worker finds its end of the socket pair.
pub const CONTROL_FD: i32 = 3;
/// Descriptor on which a worker finds the opened object, when the job says [`Input::Fd`].
pub const INPUT_FD: i32 = 4;
/// Size of the length prefix: one `u32`, little-endian.
pub const LENGTH_PREFIX_BYTES: usize = 4;
/// The largest body of one message. A media segment or an index beyond it fails the job with [`Failure::TooLarge`].
pub const MAX_FRAME_BYTES: usize = 48 << 20;
/// The most bytes a worker asks for in one [`FromWorker::ReadRange`], and the most one reply may carry.
pub const MAX_READ_BYTES: u32 = 1 << 20;
/// The most rungs in one ladder.
pub const MAX_RUNGS: usize = 8;
/// The most tiles of one storyboard.
pub const MAX_TILES: usize = 1_000;
/// The most columns and the most rows of one sheet.
pub const MAX_SHEET_SIDE: u32 = 16;
/// The longest side of one tile, in pixels.
pub const MAX_TILE_PX: u32 = 640;
/// The most cut times in one ladder: 4 s segments of a week.
pub const MAX_CUTS: usize = 160_000;

/// What can be wrong with a message.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// A body longer than [`MAX_FRAME_BYTES`], announced or about to be sent.
    #[error("a message of {0} bytes exceeds the limit of {MAX_FRAME_BYTES}")]
    TooLong(usize),
    /// The body is not a message of the expected direction.
    #[error("a message could not be read: {0}")]
    Malformed(postcard::Error),
    /// Bytes were left over after the message.
    #[error("a message is followed by {0} unexpected bytes")]
    Trailing(usize),
}

/// A message that can be framed: [`ToWorker`] or [`FromWorker`].
pub trait Message: Serialize + DeserializeOwned {}
impl Message for ToWorker {}
impl Message for FromWorker {}

/// One whole frame: length prefix and body.
///
/// # Errors
/// [`ProtocolError::TooLong`] when the body exceeds [`MAX_FRAME_BYTES`].
pub fn encode<M: Message>(message: &M) -> Result<Vec<u8>, ProtocolError> {
    let frame = postcard::to_extend(message, vec![0; LENGTH_PREFIX_BYTES])
        .map_err(ProtocolError::Malformed)?;
    let body = frame.len() - LENGTH_PREFIX_BYTES;
    if body > MAX_FRAME_BYTES {
        return Err(ProtocolError::TooLong(body));
    }
    let mut frame = frame;
    frame[..LENGTH_PREFIX_BYTES].copy_from_slice(&(body as u32).to_le_bytes());
    Ok(frame)
}

/// The length of the body that follows a prefix.
///
/// # Errors
/// [`ProtocolError::TooLong`] when it exceeds [`MAX_FRAME_BYTES`].
pub fn frame_length(prefix: [u8; LENGTH_PREFIX_BYTES]) -> Result<usize, ProtocolError> {
    let length = u32::from_le_bytes(prefix) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(ProtocolError::TooLong(length));
    }
    Ok(length)
}

/// The message in a body (without its prefix).
///
/// # Errors
/// [`ProtocolError::Malformed`] or [`ProtocolError::Trailing`].
pub fn decode<M: Message>(body: &[u8]) -> Result<M, ProtocolError> {
    if body.len() > MAX_FRAME_BYTES {
        return Err(ProtocolError::TooLong(body.len()));
    }
    let (message, rest) = postcard::take_from_bytes(body).map_err(ProtocolError::Malformed)?;
    if !rest.is_empty() {
        return Err(ProtocolError::Trailing(rest.len()));
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_survives_the_wire() {
        let message = FromWorker::ReadRange { offset: 7, len: 9 };
        let frame = encode(&message).expect("small");
        let prefix = frame[..4].try_into().expect("four bytes");
        assert_eq!(frame_length(prefix).expect("small"), frame.len() - 4);
        assert_eq!(
            decode::<FromWorker>(&frame[4..]).expect("same release"),
            message
        );
    }

    #[test]
    fn a_segment_travels_as_plain_bytes() {
        let segment = Segment {
            rung: "720p".into(),
            number: 3,
            init_number: 0,
            start_ticks: 12_000,
            duration_ticks: 4_000,
            bytes: vec![200; 100_000],
        };
        let frame = encode(&FromWorker::Segment(segment)).expect("small");
        assert!(frame.len() < 100_040, "one byte a byte");
    }

    #[test]
    fn too_long_is_refused_on_both_sides() {
        let message = ToWorker::Read(ReadReply::Bytes {
            offset: 0,
            data: vec![0; MAX_FRAME_BYTES + 1],
        });
        assert!(matches!(encode(&message), Err(ProtocolError::TooLong(_))));
        assert!(frame_length(u32::MAX.to_le_bytes()).is_err());
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut frame = encode(&ToWorker::Cancel).expect("small");
        frame.push(0);
        assert!(matches!(
            decode::<ToWorker>(&frame[4..]),
            Err(ProtocolError::Trailing(1))
        ));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode::<FromWorker>(&bytes);
            let _ = decode::<ToWorker>(&bytes);
        }
    }
}

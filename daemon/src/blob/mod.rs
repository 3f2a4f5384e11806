//! Bytes on disk: write, read, verify, sweep, space.
//!
//! A blob is a plain file `<dir>/xx/<id>`, where `xx` are the last two digits of the id; no name that a stranger chose ever reaches the disk.
//! Beside them lie `<dir>/tmp/`, files that are not complete, and `<dir>/quarantine/`, files that were found damaged, each with the list of its bad blocks.
//!
//! **Writing.** [`Blobs::create`] makes a new immutable blob: bytes pass through a bounded lane to a blocking thread that writes and computes BLAKE3, and beside it through another that computes MD5, abreast with that of other writers.
//! [`BlobWriter::seal`] orders what makes it durable: data sync, rename into place, directory sync (shared by callers that wait for one directory).
//! [`Blobs::append`] continues the file of an upload instead, whose length at any moment is what the upload has received; what comes in small pieces is gathered to blocks (`tail`).
//! A file without a row in the catalog is protected by an exclusive lock on it (`flock`), held by a [`BlobLock`] or a [`SealedBlob`]; [`Blobs::collect_orphans`] removes only what is neither locked nor known.
//! So a crash leaves at most an orphan, and a second daemon on the same directory can not take a file that the first is about to enter.
//!
//! **Reading.** [`Blobs::reader`] opens the slices of which an object consists; [`BlobReader::body`] streams any range of them.
//! Pages in the cache are read at once (`RWF_NOWAIT`), others on a blocking thread, so a cold disk never delays a hot stream; a socket that can takes them straight from the cache ([`Bypass`]); nothing is read ahead of what the socket takes.
//!
//! **Integrity.** See [`sums`]: one 32-byte BLAKE3 chaining value per MiB, from which the hash of the whole follows.
//! A file shorter than a slice says is an error, never zeros.
//! [`Blobs::inspect`] reads past the page cache on a thread of the lowest priority; [`Blobs::quarantine`] sets a damaged file aside with the list of its bad blocks, which readers refuse from then on while the good ones are read as before; [`Blobs::heal`] writes it anew from another file of the same bytes.
//!
//! **Encryption.** A blob may be written and read with a [`DataKey`]; see `cipher` for the frames it is made of.
//! Its size and sums are those of the file as it lies on the disk, so whoever checks or copies files needs no key.
//!
//! **Disks.** Beside the main directory further ones may be configured; see `disks`.
//! One that is away makes its own blobs unavailable ([`BlobError::DiskAway`]) and nothing else; `moves` empties one while it is read.
//!
//! **Space.** [`Blobs::admit`] refuses by declared length before a body is read; a reserve stays free; removal always works, for which [`Blobs::take_ballast`] keeps some space in hand.
//!
//! The room knows ids and nothing else: no catalog, no names, no HTTP beyond the [`http_body::Body`] it implements.

mod abreast;
mod append;
mod ballast;
mod body;
mod buffer;
mod bypass;
mod cached;
mod cipher;
mod damage;
mod dirsync;
mod disks;
mod error;
mod files;
mod filesync;
mod gather;
mod held;
mod idle;
mod lane;
mod moves;
mod open;
mod orphan;
mod reader;
mod room;
mod space;
mod stretch;
pub mod sums;
mod tail;
mod verify;
mod write;

#[cfg(test)]
mod tests;

pub use append::{BlobAppender, Checkpoint, FinishedBlob};
pub use body::BlobBody;
pub use bypass::Bypass;
pub use cipher::{DataKey, plain_len, sealed_len};
pub use disks::{DiskInfo, DiskOptions};
pub use error::BlobError;
pub use files::{BlobFileInfo, BlobFiles};
pub use held::BlobLock;
pub use moves::DiskContent;
pub use reader::{BlobReader, READ_BYTES_MAX, Slice};
pub use room::{BlobOptions, Blobs};
pub use space::Space;
pub use stretch::Stretch;
pub use sums::BlobDigest;
pub use verify::{Inspection, Verdict};
pub use write::{BlobWriter, Encryption, SealedBlob};

//! Backup and restore of everything: rows, bytes and keys, to a directory or any S3 endpoint.
//!
//! A target holds many snapshots that share what is the same:
//!
//! ```text
//! TARGET/
//! ├── nebula-backup.json     format, appliance, and how its key is sealed when it is encrypted
//! ├── snapshots/<time>-<id>  a manifest; written last, so a snapshot is there whole or not at all
//! ├── catalog/<xx>/<name>    chunks of rows and of the list of blobs, named by their content
//! └── blobs/<xx>/<id>.<n>    pieces of 4 MiB of the immutable blob <id>
//! ```
//!
//! **Taking one.** The files are held still (`Store::hold_files`), then all rows are read in one read transaction into a nameless file beside the data, then only that file is worked on: writers and the database wait for nobody's network.
//! Rows are JSON that knows no database; chunks end where their content says, so that one changed row changes one chunk.
//! A blob is sent when the target lacks one of its pieces; what an interrupted run has sent is found by the next.
//!
//! **Trust.** The manifest carries its own BLAKE3 and that of every chunk, the chunks carry that of every blob; each is checked when it is read.
//! An encrypted target seals every object under a key of its own with AES-256-GCM, its name bound in, and a key for all that only the passphrase opens (Argon2id).
//! The appliance's own secrets go along when the target is encrypted, or when that is asked for by name.
//!
//! **Restoring.** Files first, then all rows in one transaction: a restore that is interrupted leaves an empty appliance, and goes on where it was.
//!
//! **Leaving.** A bucket can be written as plain files (`export`), for any other program.
//!
//! The room knows no protocol but the S3 of its targets, and no caller.

mod chunks;
mod copy;
mod error;
mod export;
mod keep;
mod lines;
mod manifest;
mod names;
mod restore;
mod save;
mod target;
mod vault;

#[cfg(test)]
mod tests;

pub use error::BackupError;
pub use export::{Exported, export};
pub use keep::{Listed, Pruned, Verified, list, prune, verify};
pub use manifest::{Damage, Manifest};
pub use names::{key_of, path_of};
pub use restore::{RestoreOptions, Restored, UNFINISHED_FILE, claim, finish, restore};
pub use save::{SaveOptions, Saved, save};
pub use target::{S3Options, Target};
pub use vault::{Passphrase, Vault};

//! The resumable upload door.

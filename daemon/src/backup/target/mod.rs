//! Where backups are kept: a directory, or a prefix in a bucket of any S3 endpoint.
//!
//! Both offer the same few things: objects by name, written whole, listed in the order of their bytes.

mod dir;
mod s3;
mod sign;

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::BackupError;
pub use s3::S3Options;

/// A place for backups; a cheap handle.
#[derive(Clone)]
pub struct Target(Arc<Place>);

enum Place {
    Dir(dir::Dir),
    S3(Box<s3::S3>),
}

impl Target {
    /// A directory; made when something is put into it.
    pub fn directory(path: PathBuf) -> Self {
        Self(Arc::new(Place::Dir(dir::Dir::new(path))))
    }

    /// A prefix in a bucket.
    ///
    /// # Errors
    /// [`BackupError::Target`] when the address is none.
    pub fn s3(options: S3Options) -> Result<Self, BackupError> {
        Ok(Self(Arc::new(Place::S3(Box::new(s3::S3::new(options)?)))))
    }

    /// Keeps an object, replacing what has its name; it is there whole or not at all.
    pub(super) async fn put(&self, name: &str, bytes: Bytes) -> Result<(), BackupError> {
        match &*self.0 {
            Place::Dir(dir) => dir.put(name, bytes).await,
            Place::S3(s3) => s3.put(name, bytes).await,
        }
    }

    /// An object's bytes.
    pub(super) async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, BackupError> {
        match &*self.0 {
            Place::Dir(dir) => dir.get(name).await,
            Place::S3(s3) => s3.get(name).await,
        }
    }

    /// An object's length.
    pub(super) async fn size(&self, name: &str) -> Result<Option<u64>, BackupError> {
        match &*self.0 {
            Place::Dir(dir) => dir.size(name).await,
            Place::S3(s3) => s3.size(name).await,
        }
    }

    /// Removes an object; one that is not there is removed already.
    pub(super) async fn delete(&self, name: &str) -> Result<(), BackupError> {
        match &*self.0 {
            Place::Dir(dir) => dir.delete(name).await,
            Place::S3(s3) => s3.delete(name).await,
        }
    }

    /// Makes everything that was put survive a power failure.
    pub(super) async fn settle(&self) -> Result<(), BackupError> {
        match &*self.0 {
            Place::Dir(dir) => dir.settle().await,
            Place::S3(_) => Ok(()),
        }
    }

    /// Whether nothing is in it, ours or not.
    pub(super) async fn is_empty(&self) -> Result<bool, BackupError> {
        match &*self.0 {
            Place::Dir(dir) => dir.is_empty().await,
            Place::S3(s3) => Ok(s3.page("", None).await?.names.is_empty()),
        }
    }

    /// Walks over the objects whose names begin with `prefix`, in the order of their names.
    pub(super) fn walk(&self, prefix: &str) -> Walk<'_> {
        Walk {
            target: self,
            prefix: prefix.to_owned(),
            page: VecDeque::new(),
            after: None,
            done: false,
        }
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page, BackupError> {
        match &*self.0 {
            Place::Dir(dir) => dir.page(prefix, after).await,
            Place::S3(s3) => s3.page(prefix, after).await,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Place::Dir(dir) => dir.fmt(f),
            Place::S3(s3) => s3.fmt(f),
        }
    }
}

/// Some names with their lengths, and whether more follow.
struct Page {
    names: Vec<(String, u64)>,
    more: bool,
}

/// A walk over names; holds one page.
pub(super) struct Walk<'a> {
    target: &'a Target,
    prefix: String,
    page: VecDeque<(String, u64)>,
    after: Option<String>,
    done: bool,
}

impl Walk<'_> {
    /// The next name and its length.
    pub(super) async fn next(&mut self) -> Result<Option<(String, u64)>, BackupError> {
        while self.page.is_empty() && !self.done {
            let page = self.target.page(&self.prefix, self.after.as_deref());
            let Page { names, more } = page.await?;
            self.done = !more;
            if let Some((last, _)) = names.last() {
                self.after = Some(last.clone());
            }
            self.page = names.into();
        }
        Ok(self.page.pop_front())
    }
}

//! The master key of the data directory.

use std::path::Path;

use super::files::{self, FileError};
use crate::kernel::MasterKey;

/// The file in the data directory, mode 0600: 64 hex digits.
pub const MASTER_KEY_FILE: &str = "master.key";
const KEY_BYTES: usize = 32;

impl MasterKey {
    /// Reads the key of a data directory, or makes it; two daemons that start at once get the same.
    ///
    /// # Errors
    /// [`FileError`] when the file cannot be made or read, is open to others, or holds something else.
    pub fn load_or_create(data_dir: &Path) -> Result<Self, FileError> {
        let path = data_dir.join(MASTER_KEY_FILE);
        let mut fresh = [0; KEY_BYTES];
        getrandom::fill(&mut fresh).map_err(|error| FileError::io(&path, error.into()))?;
        let text = files::read_or_create(&path, || format!("{}\n", hex::encode(fresh)))?;
        let mut key = [0; KEY_BYTES];
        hex::decode_to_slice(text.trim(), &mut key)
            .map_err(|_| FileError::content(&path, "64 hexadecimal digits"))?;
        Ok(Self::from_bytes(key))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn racing_daemons_agree_on_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let sealed: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let start = || {
                MasterKey::load_or_create(dir.path())
                    .unwrap()
                    .seal("x", b"y")
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let key = MasterKey::load_or_create(dir.path()).unwrap();
        assert!(sealed.iter().all(|s| key.open("x", s).is_some()));
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "only the key is left: {left:?}");
    }
}

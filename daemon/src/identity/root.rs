//! The root key pair: made once, or set from outside.

use std::path::PathBuf;

use super::error::IdentityError;
use super::files;
use super::house::Identity;
use super::secret::Secret;
use crate::catalog::AccessKeyRow;
use crate::kernel::AccessKeyId;

/// The file in the data directory, mode 0600: two lines that a shell can read.
pub const ROOT_CREDENTIALS_FILE: &str = "root-credentials";
const ID_NAME: &str = "NEBULA_ROOT_ACCESS_KEY";
const SECRET_NAME: &str = "NEBULA_ROOT_SECRET_KEY";
/// Shortest secret that is taken from outside.
const PRESET_SECRET_BYTES_MIN: usize = 8;

/// A root key pair from the environment.
#[derive(Clone, Debug)]
pub struct RootPreset {
    /// `NEBULA_ROOT_ACCESS_KEY`.
    pub id: String,
    /// `NEBULA_ROOT_SECRET_KEY`.
    pub secret: Secret,
}

/// What [`Identity::ensure_root`] found or made.
#[derive(Clone, Debug)]
pub enum RootKey {
    /// Made just now: to be printed once.
    Created {
        /// The public half.
        id: AccessKeyId,
        /// The secret half.
        secret: Secret,
        /// Where both are kept.
        file: PathBuf,
    },
    /// As the environment says.
    Preset {
        /// The public half.
        id: AccessKeyId,
    },
    /// Made by an earlier start.
    Kept {
        /// The public half.
        id: AccessKeyId,
    },
}

impl RootKey {
    /// The public half.
    pub fn id(&self) -> &AccessKeyId {
        match self {
            Self::Created { id, .. } | Self::Preset { id } | Self::Kept { id } => id,
        }
    }
}

impl Identity {
    /// Makes sure that there is one root key; of two daemons that start at once, one makes it and both know it.
    ///
    /// # Errors
    /// [`IdentityError::Invalid`] for a preset that cannot be a key pair.
    pub async fn ensure_root(&self, preset: Option<RootPreset>) -> Result<RootKey, IdentityError> {
        match preset {
            Some(preset) => self.preset_root(preset).await,
            None => self.kept_or_new_root().await,
        }
    }

    async fn preset_root(&self, preset: RootPreset) -> Result<RootKey, IdentityError> {
        let id: AccessKeyId = preset.id.parse().map_err(|_| {
            IdentityError::Invalid(format!(
                "{ID_NAME} has 4 to 128 letters, digits, `-`, `_` or `.`"
            ))
        })?;
        if preset.secret.reveal().len() < PRESET_SECRET_BYTES_MIN {
            return Err(IdentityError::Invalid(format!(
                "{SECRET_NAME} has at least {PRESET_SECRET_BYTES_MIN} characters"
            )));
        }
        let row = self.root_row(&id, &preset.secret);
        let root = id.clone();
        self.0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    match tx.access_key(&root).await? {
                        Some(row) if !row.is_root => {
                            return Err(IdentityError::Invalid(format!(
                                "{ID_NAME} is the id of a key that is not root; choose another"
                            )));
                        }
                        Some(_) => {
                            tx.set_access_key_secret(&root, &row.secret).await?;
                        }
                        None => {
                            tx.insert_access_key(&row).await?;
                        }
                    }
                    tx.delete_roots_but(&root).await?;
                    Ok(())
                })
            })
            .await?;
        self.0.keys.clear();
        // A pair generated earlier opens nothing any more, and this one is kept by whoever set it.
        let file = self.0.data_dir.join(ROOT_CREDENTIALS_FILE);
        blocking(move || files::remove(&file)).await?;
        Ok(RootKey::Preset { id })
    }

    async fn kept_or_new_root(&self) -> Result<RootKey, IdentityError> {
        let found = self.0.catalog.write(|tx| {
            Box::pin(async move { Ok::<_, IdentityError>(tx.root_access_key().await?) })
        });
        if let Some(row) = found.await? {
            return Ok(RootKey::Kept { id: root_id(&row)? });
        }
        // The file comes first: were it the row, a crash in between would leave a key that nobody knows.
        let file = self.0.data_dir.join(ROOT_CREDENTIALS_FILE);
        let path = file.clone();
        let text = blocking(move || {
            files::read_or_create(&path, || text(&AccessKeyId::random(), &Secret::random()))
        })
        .await?;
        let pair = parse(&text).ok_or_else(|| files::FileError::content(&file, "a root key pair"));
        let (id, secret) = pair?;
        let row = self.root_row(&id, &secret);
        let standing = self
            .0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    if let Some(row) = tx.root_access_key().await? {
                        return Ok(Some(row));
                    }
                    tx.insert_access_key(&row).await?;
                    Ok::<_, IdentityError>(None)
                })
            })
            .await?;
        match standing {
            Some(row) => Ok(RootKey::Kept { id: root_id(&row)? }),
            None => Ok(RootKey::Created { id, secret, file }),
        }
    }

    /// Writes a rotated pair down, where the first one was.
    pub(super) async fn keep_root(
        &self,
        id: &AccessKeyId,
        secret: &Secret,
    ) -> Result<(), IdentityError> {
        let file = self.0.data_dir.join(ROOT_CREDENTIALS_FILE);
        let text = text(id, secret);
        blocking(move || files::replace(&file, &text)).await
    }

    fn root_row(&self, id: &AccessKeyId, secret: &Secret) -> AccessKeyRow {
        AccessKeyRow {
            id: id.to_string(),
            name: "root".into(),
            secret: self.0.master.seal(id.as_str(), secret.reveal().as_bytes()),
            grants: "[]".into(),
            is_root: true,
            disabled: false,
            created_by: "system".into(),
            created_ms: self.0.clock.now_ms(),
            expires_ms: None,
            last_used_ms: None,
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, files::FileError> + Send + 'static,
) -> Result<T, IdentityError> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.expect("file work does not panic and is not aborted")?)
}

fn root_id(row: &AccessKeyRow) -> Result<AccessKeyId, IdentityError> {
    let bad = |_| IdentityError::Invalid("the root key's id in the catalog is unreadable".into());
    row.id.parse().map_err(bad)
}

fn text(id: &AccessKeyId, secret: &Secret) -> String {
    format!("{ID_NAME}={id}\n{SECRET_NAME}={}\n", secret.reveal())
}

fn parse(text: &str) -> Option<(AccessKeyId, Secret)> {
    let value = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    };
    let secret = value(SECRET_NAME).filter(|secret| !secret.is_empty())?;
    Some((value(ID_NAME)?.parse().ok()?, Secret::new(secret)))
}

//! Profiles: the nodes this user knows and the keys for them.
//!
//! One TOML file, `credentials.toml` in the user's configuration directory, mode 0600,
//! always replaced as a whole.

use crate::{Client, Credentials, Error, xdg};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// The file of profiles.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Profiles {
    /// The profile used when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// By name.
    #[serde(default)]
    pub profiles: BTreeMap<String, Profile>,
}

/// One node and the key for it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Profile {
    /// The node's origin.
    pub url: String,
    /// Absent where the tailnet says who we are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key: Option<String>,
    /// The secret that belongs to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<String>,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profile")
            .field("url", &self.url)
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

impl Profile {
    /// The key pair, where there is one.
    pub fn credentials(&self) -> Option<Credentials> {
        Some(Credentials {
            access_key: self.access_key.clone()?,
            secret_key: self.secret_key.clone()?,
        })
    }

    /// A client of the profile's node.
    pub fn client(&self) -> Result<Client, Error> {
        Client::new(&self.url, self.credentials())
    }
}

impl Profiles {
    /// Where the file is.
    pub fn path() -> PathBuf {
        xdg::config_dir().join("credentials.toml")
    }

    /// Reads the user's file; none is an empty one.
    pub fn load() -> Result<Self, Error> {
        Self::load_from(&Self::path())
    }

    /// Reads one file; none is an empty one.
    pub fn load_from(path: &Path) -> Result<Self, Error> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(Error::local("read", path, e)),
        };
        toml::from_str(&text).map_err(|e| {
            // The message of the parser alone: its excerpt could show a secret.
            let reason = e.message().to_owned();
            Error::local("understand", path, io::Error::other(reason))
        })
    }

    /// Writes the user's file.
    pub fn save(&self) -> Result<(), Error> {
        self.save_to(&Self::path())
    }

    /// Writes one file, mode 0600.
    pub fn save_to(&self, path: &Path) -> Result<(), Error> {
        let text = toml::to_string(self)
            .map_err(|e| Error::local("write", path, io::Error::other(e.to_string())))?;
        xdg::write_private(path, text.as_bytes()).map_err(|e| Error::local("write", path, e))
    }

    /// The profile of this name, or the current one.
    pub fn pick(&self, name: Option<&str>) -> Result<(&str, &Profile), Error> {
        let Some(wanted) = name.or(self.current.as_deref()) else {
            return Err(Error::NeedsLogin {
                url: "http://127.0.0.1:8000".into(),
                reason: "there is no profile yet.".into(),
            });
        };
        let found = self.profiles.get_key_value(wanted);
        found.map(|(n, p)| (n.as_str(), p)).ok_or_else(|| {
            let known: Vec<&str> = self.profiles.keys().map(String::as_str).collect();
            Error::Usage {
                message: format!("There is no profile '{wanted}'."),
                hint: Some(if known.is_empty() {
                    "nebula login http://127.0.0.1:8000".into()
                } else {
                    format!("Profiles: {}.", known.join(", "))
                }),
            }
        })
    }

    /// Adds or replaces a profile and makes it the current one.
    pub fn put(&mut self, name: &str, profile: Profile) {
        self.profiles.insert(name.to_owned(), profile);
        self.current = Some(name.to_owned());
    }

    /// Forgets a profile; the current one becomes whichever is left first.
    pub fn remove(&mut self, name: &str) -> Option<Profile> {
        let removed = self.profiles.remove(name);
        if self.current.as_deref() == Some(name) {
            self.current = self.profiles.keys().next().cloned();
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_profile_survives_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nebula/credentials.toml");
        assert!(Profiles::load_from(&path).unwrap().profiles.is_empty());
        let mut profiles = Profiles::default();
        profiles.put(
            "home",
            Profile {
                url: "http://127.0.0.1:8000".into(),
                access_key: Some("NB1".into()),
                secret_key: Some("geheim".into()),
            },
        );
        profiles.save_to(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = Profiles::load_from(&path).unwrap();
        let (name, profile) = again.pick(None).unwrap();
        assert_eq!(
            (name, profile.secret_key.as_deref()),
            ("home", Some("geheim"))
        );
        assert!(!format!("{profile:?}").contains("geheim"));
        assert!(again.pick(Some("work")).is_err());
    }

    #[test]
    fn a_broken_file_is_told_without_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials.toml");
        fs::write(&path, "secret_key = geheim").unwrap();
        let error = Profiles::load_from(&path).unwrap_err().to_string();
        assert!(!error.contains("geheim"), "{error}");
    }
}

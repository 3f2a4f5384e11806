//! Receivers, their names in a bucket's configuration, and their signatures.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::kernel::Millis;

/// What stands before a target's name; the second spelling is for clients that know only Amazon's services.
const ARN_HEADS: [&str; 2] = ["arn:nebula:webhook:::", "arn:nebula:sqs:::"];

/// One receiver.
#[derive(Clone)]
pub struct Target {
    name: Arc<str>,
    url: Arc<str>,
    key: Hmac<Sha256>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.name)
    }
}

impl Target {
    /// A receiver at `url`, with the secret that it shares with us.
    pub fn new(name: &str, url: &str, secret: &str) -> Self {
        let key = Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
        Self {
            name: name.into(),
            url: url.into(),
            key,
        }
    }

    /// What configurations call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The value of `x-nebula-signature` for a body sent at a time: `t=SECONDS,v1=HEX`.
    pub fn signature(&self, now_ms: Millis, body: &[u8]) -> String {
        let seconds = now_ms.div_euclid(1000);
        let mut mac = self.key.clone();
        mac.update(format!("{seconds}.").as_bytes());
        mac.update(body);
        format!(
            "t={seconds},v1={}",
            hex::encode(mac.finalize().into_bytes())
        )
    }
}

/// Every receiver of the appliance; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Targets(Arc<[Target]>);

impl Targets {
    /// Those of the configuration, which are told apart by their names.
    pub fn new(targets: Vec<Target>) -> Self {
        Self(targets.into())
    }

    /// Whether a target of this name is configured.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|target| target.name() == name)
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Target> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a Targets {
    type Item = &'a Target;
    type IntoIter = std::slice::Iter<'a, Target>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The ARN of a target.
pub fn arn_of(name: &str) -> String {
    format!("{}{name}", ARN_HEADS[0])
}

/// The target that an ARN names, configured or not.
pub fn name_in(arn: &str) -> Option<&str> {
    let name = ARN_HEADS.iter().find_map(|head| arn.strip_prefix(head))?;
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_can_be_checked_with_any_hmac() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac key
        let target = Target::new("a", "http://127.0.0.1", "key");
        assert_eq!(
            target.signature(1_700_000_000_999, b"{}"),
            "t=1700000000,v1=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae"
        );
    }

    #[test]
    fn an_arn_names_a_target() {
        assert_eq!(name_in(&arn_of("hall")), Some("hall"));
        assert_eq!(name_in("arn:nebula:sqs:::hall"), Some("hall"));
        for other in ["", "hall", "arn:nebula:webhook:::", "arn:aws:sqs:::hall"] {
            assert_eq!(name_in(other), None, "{other}");
        }
    }
}

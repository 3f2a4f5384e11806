//! Who is calling, and what they may do.
//!
//! A door hands over what a request carried; [`Identity`] answers with a [`Caller`], and [`authorize`] decides each [`Action`] on each [`Resource`] for it.
//! Six roads lead to a caller: an access key ([`Identity::basic`], or [`Identity::secret_of`] where the door checks a SigV4 signature itself), a temporary key with its token ([`Identity::session_of`]), a tailnet address ([`Identity::peer`]), a signed link ([`Identity::link`]), the daemon's own work ([`Caller::system`]), and nothing at all ([`Caller::anonymous`]).
//! What no rule allows is denied, and a wrong credential is `Ok(None)`, never a reason.
//! What a bucket itself says, by policy and access list, is read by [`Identity::rules`] and decided in the same place: [`policy`] holds the documents, [`rules`] what surrounds them.
//!
//! Secrets rest sealed (AES-256-GCM) by `master.key` in the data directory; the root key pair is kept beside it in `root-credentials`, both mode 0600.
//! Those two files are all that this room reads or writes on disk.
//! Keys, links and tailnet answers are remembered for at most ten seconds; a change made in this process is seen at once.
//!
//! Changes to keys and links are audited inside their own transaction.
//! The doors' mutations go through [`Identity::audit`]: a bounded queue off the request path that falls back to writing directly when it is full, so nothing is dropped while the process lives; a power loss may take the last moments of it.
//!
//! The room knows no protocol and no bytes; a loopback address means nothing to it, because proxies arrive from there.

mod actor;
mod audit;
mod authorize;
mod cache;
mod decide;
mod error;
mod files;
mod grant;
mod house;
mod keys;
mod links;
mod policy;
mod root;
mod rules;
mod seal;
mod secret;
mod session;
mod tailnet;
#[cfg(test)]
mod tests;
mod token;
mod whois;

pub use crate::kernel::MasterKey;
pub use actor::{Actor, Caller, LinkScope, Session};
pub use audit::{AUDIT_KEPT_MS, Outcome};
pub use authorize::{Action, Decision, Resource, Rule, authorize};
pub use cache::CACHE_AGE_MAX_MS;
pub use error::IdentityError;
pub use files::FileError;
pub use grant::{BucketPattern, GRANTS_MAX, Grant, PATTERNS_MAX, PREFIXES_MAX, PatternError, Role};
pub use house::{Identity, Options};
pub use keys::{CreatedKey, KeyInfo, NewKey};
pub use links::{CreatedLink, LINK_LIFE_MAX_S, LinkInfo};
pub use policy::{
    ConditionKey, Facts, NoFacts, POLICY_BYTES_MAX, Policy, PolicyError, SESSION_POLICY_BYTES_MAX,
};
pub use root::{ROOT_CREDENTIALS_FILE, RootKey, RootPreset};
pub use rules::{
    ACL_SETTING, BLOCK_SETTING, BucketRules, Circumstances, OWNERSHIP_SETTING, ObjectRules,
    Ownership, POLICY_SETTING, PublicAccessBlock, S3Ask, account_of, is_of_object_list,
};
pub use seal::MASTER_KEY_FILE;
pub use secret::{SECRET_CHARACTERS, Secret};
pub use session::{
    CreatedSession, NewSession, SESSION_LIFE_MAX_S, SESSION_LIFE_MIN_S, SessionInfo, SessionRefusal,
};
pub use tailnet::{TAILNET_CAPABILITY, TAILSCALED_SOCKET, TailnetOptions};

//! Bucket policies: the JSON documents with which S3 says who may do what to a bucket.
//!
//! A document is parsed once into a [`Policy`], every part of it checked: an action, a principal, an operator or a condition key that this appliance cannot decide on is refused by name, so that nothing is stored that would silently mean something else.
//! Evaluation is pure: the caller, the actions, the resource, and [`Facts`] that a door reads from the request.
//! A statement that denies wins; what no statement allows is left to the rest of `authorize()`.

mod action;
mod condition;
mod document;
mod evaluate;
mod key;
mod pattern;
mod principal;

pub use document::{POLICY_BYTES_MAX, Policy, SESSION_POLICY_BYTES_MAX};
pub use evaluate::{Ask, Verdict};
pub use key::ConditionKey;

/// Why a document is no policy; its text names the part that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(pub(super) String);

impl PolicyError {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// What a request has to say to the conditions of a policy.
pub trait Facts: Sync {
    /// The values of a key, none when the request says nothing about it.
    ///
    /// Keys that speak of the caller are not asked for: this room knows them.
    fn values(&self, key: &ConditionKey) -> Vec<String>;

    /// Whether conditions on a key were decided by an earlier request that this one continues, as the parts of an upload continue its beginning: they hold for what allows, and not again for what denies.
    fn is_settled(&self, _: &ConditionKey) -> bool {
        false
    }

    /// Whether nobody can say what a key is: then conditions on it hold for what denies, and not for what allows.
    fn is_unknown(&self, _: &ConditionKey) -> bool {
        false
    }
}

/// A door that does not know the request: conditions on it are never for the caller.
pub struct UnknownFacts;

impl Facts for UnknownFacts {
    fn values(&self, _: &ConditionKey) -> Vec<String> {
        Vec::new()
    }

    fn is_unknown(&self, key: &ConditionKey) -> bool {
        !matches!(
            key,
            ConditionKey::SourceIp
                | ConditionKey::Username
                | ConditionKey::UserId
                | ConditionKey::PrincipalType
        )
    }
}

/// A door that has nothing to say.
pub struct NoFacts;

impl Facts for NoFacts {
    fn values(&self, _: &ConditionKey) -> Vec<String> {
        Vec::new()
    }
}

/// At most this much of what was sent is repeated in a message.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

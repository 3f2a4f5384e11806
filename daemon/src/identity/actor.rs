//! Who is calling: an actor, what it was granted, and where it calls from.

use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::sync::Arc;

use super::authorize::{Action, Decision, Resource, authorize};
use super::grant::{Grant, Role};
use super::policy::Policy;
use super::rules::Circumstances;
use crate::kernel::{AccessKeyId, BucketName, LinkId, ObjectKey};

/// Who does something; its `Display` is what logs and the audit say: `key:NEB…`, `tailnet:alice@example.org`, `tailnet-node:nas.example.ts.net`, `link:…`, `system`, `anonymous`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Actor {
    /// The holder of an access key.
    AccessKey {
        /// Its public half.
        id: AccessKeyId,
        /// What it is for, in its maker's words.
        name: String,
        /// Whether it is the root key, which may do everything.
        root: bool,
    },
    /// A person's device in the tailnet.
    TailnetUser {
        /// The login name, unique in the tailnet.
        login: String,
        /// The person's name.
        display: String,
        /// The device.
        node: String,
    },
    /// A tagged device in the tailnet: a service, not a person.
    TailnetNode {
        /// Its full name.
        name: String,
        /// `tag:…`, at least one.
        tags: Vec<String>,
    },
    /// The bearer of a signed link.
    Link {
        /// Its row.
        id: LinkId,
    },
    /// The daemon itself.
    System,
    /// Nobody known.
    Anonymous,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccessKey { id, .. } => write!(f, "key:{id}"),
            Self::TailnetUser { login, .. } => plain(f, "tailnet:", login),
            Self::TailnetNode { name, .. } => plain(f, "tailnet-node:", name),
            Self::Link { id } => write!(f, "link:{id}"),
            Self::System => f.write_str("system"),
            Self::Anonymous => f.write_str("anonymous"),
        }
    }
}

/// Names from outside cannot break a log line.
fn plain(f: &mut fmt::Formatter<'_>, kind: &str, name: &str) -> fmt::Result {
    f.write_str(kind)?;
    name.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .try_for_each(|c| f.write_char(c))
}

/// The objects that a signed link opens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkScope {
    /// One object.
    Object(BucketName, ObjectKey),
    /// Every object whose key starts with this; the empty text is the whole bucket.
    Prefix(BucketName, String),
}

impl LinkScope {
    /// The bucket.
    pub fn bucket(&self) -> &BucketName {
        match self {
            Self::Object(bucket, _) | Self::Prefix(bucket, _) => bucket,
        }
    }

    /// The key or the prefix.
    pub fn path(&self) -> &str {
        match self {
            Self::Object(_, key) => key.as_str(),
            Self::Prefix(_, prefix) => prefix,
        }
    }

    /// Whether this object is opened; compared byte by byte, nothing is normalised.
    pub fn covers(&self, bucket: &BucketName, key: &ObjectKey) -> bool {
        self.bucket() == bucket
            && match self {
                Self::Object(_, one) => one == key,
                Self::Prefix(_, prefix) => key.as_str().starts_with(prefix.as_str()),
            }
    }
}

/// A temporary key: what its caller may do at most, beside what the key behind it may.
#[derive(Clone, PartialEq, Debug)]
pub struct Session {
    /// The temporary id.
    pub id: AccessKeyId,
    /// What it is for, in its maker's words.
    pub name: String,
    /// Whose rights bound it beside those of the key behind it, when it has bounds of its own.
    bounds: Option<Caller>,
    /// What its policy says: it must allow whatever the key does.
    policy: Option<Policy>,
}

/// An actor with its rights; only this room makes one, and it is cheap to clone.
#[derive(Clone, PartialEq, Debug)]
pub struct Caller {
    actor: Arc<Actor>,
    grants: Arc<[Grant]>,
    link: Option<Arc<LinkScope>>,
    session: Option<Arc<Session>>,
    source: Option<IpAddr>,
}

impl Caller {
    /// Somebody without a credential: no rights.
    pub fn anonymous() -> Self {
        Self::new(Actor::Anonymous, [])
    }

    /// The daemon itself: every right. For work that no request stands behind.
    pub fn system() -> Self {
        Self::new(Actor::System, [])
    }

    pub(super) fn new(actor: Actor, grants: impl Into<Arc<[Grant]>>) -> Self {
        Self {
            actor: Arc::new(actor),
            grants: grants.into(),
            link: None,
            session: None,
            source: None,
        }
    }

    pub(super) fn of_link(id: LinkId, scope: LinkScope) -> Self {
        Self {
            link: Some(Arc::new(scope)),
            ..Self::new(Actor::Link { id }, [])
        }
    }

    /// The same through a temporary key; without a scope and a policy it may do what the key behind it may.
    pub(super) fn through(
        mut self,
        id: AccessKeyId,
        name: String,
        scope: Vec<Grant>,
        policy: Option<Policy>,
    ) -> Self {
        let actor = Actor::AccessKey {
            id: id.clone(),
            name: name.clone(),
            root: false,
        };
        let bounds = (!scope.is_empty()).then(|| Self::new(actor, scope));
        self.session = Some(Arc::new(Session {
            id,
            name,
            bounds,
            policy,
        }));
        self
    }

    /// Notes where the call came from, for the audit.
    #[must_use]
    pub fn from_source(mut self, source: Option<IpAddr>) -> Self {
        self.source = source;
        self
    }

    /// Who it is.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// What it was granted; empty for the root key and the system, which need none.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// What the signed link opens, when there is one.
    pub fn link(&self) -> Option<&LinkScope> {
        self.link.as_deref()
    }

    /// The temporary key that it came through, when there is one.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_deref()
    }

    /// The address that the call came from.
    pub fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// Whether nobody is known; such a caller is asked for a credential rather than refused.
    pub fn is_anonymous(&self) -> bool {
        *self.actor == Actor::Anonymous
    }

    /// Whether this is the root key or the daemon itself; a temporary key of the root key is not.
    pub fn is_root(&self) -> bool {
        self.session.is_none()
            && matches!(
                *self.actor,
                Actor::System | Actor::AccessKey { root: true, .. }
            )
    }

    /// The highest role on any bucket, for display.
    pub fn highest_role(&self) -> Option<Role> {
        if self.is_root() {
            return Some(Role::Admin);
        }
        let granted = self.grants.iter().filter(|g| !g.buckets.is_empty());
        granted.filter_map(|g| g.role).max()
    }

    /// The id by which owners, policies and access lists name it; nobody known has none.
    pub fn account(&self) -> Option<&str> {
        match &*self.actor {
            Actor::AccessKey { id, .. } => Some(id.as_str()),
            Actor::TailnetUser { login, .. } => Some(login),
            Actor::TailnetNode { name, .. } => Some(name),
            Actor::Link { .. } | Actor::System | Actor::Anonymous => None,
        }
    }

    /// Asks [`authorize`] where a bucket's own rules have no say.
    pub fn may(&self, action: Action, resource: &Resource<'_>) -> Decision {
        authorize(self, action, resource, &Circumstances::default())
    }

    /// Asks [`authorize`] with what surrounds the question.
    pub fn may_here(
        &self,
        action: Action,
        resource: &Resource<'_>,
        here: &Circumstances<'_>,
    ) -> Decision {
        authorize(self, action, resource, here)
    }
}

/// As logs and the audit say: the actor, and the temporary key that it came through.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.actor.fmt(f)?;
        match &self.session {
            Some(session) => plain(f, &format!("/{}", session.id), &session.shown_name()),
            None => Ok(()),
        }
    }
}

impl Session {
    /// Whose rights bound it, beside those of the key behind it.
    pub(super) fn bounds(&self) -> Option<&Caller> {
        self.bounds.as_ref()
    }

    /// What must allow whatever it does, beside the rights of the key behind it.
    pub fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref()
    }

    fn shown_name(&self) -> String {
        if self.name.is_empty() {
            String::new()
        } else {
            format!(" ({})", self.name)
        }
    }
}

//! The one decision of the house: may this caller do this to that?
//!
//! | action | on | who |
//! |---|---|---|
//! | list buckets, read status, read events | node | whoever has any role; what is shown is filtered bucket by bucket |
//! | see that it is there | a bucket | read there, or on some prefix in it |
//! | list, read, read jobs or events | a bucket, a prefix, an object | read there |
//! | write, delete, uploads, links | a bucket, an object | write there |
//! | make, configure, remove; manage jobs; bypass retention, lift a legal hold | a bucket | admin there |
//! | read jobs, metrics and audit | node | read on `*`; the audit: admin on `*` |
//! | keys, jobs, the node | node | admin on `*` |
//! | deploy, worker | node | the grant's flag |
//!
//! A role on prefixes of a bucket is held on the objects and longer prefixes below them, not on the bucket itself.
//! A temporary key may do what the key behind it may, its own scope holds and its own policy allows, but never manage keys, make links, deploy or work as a worker: what it made would outlive it.
//!
//! The root key and the system may do everything, and a signed link may read the objects of its scope.
//! For everybody else a bucket's own rules come in where a door knows them ([`Circumstances`]): what its policy denies is denied, whatever a grant says; what no line above allows may be allowed by the role `own` on a bucket that the caller made, by the policy, or by an access list, in this order.
//! What nothing allows is denied.

use std::borrow::Cow;
use std::fmt;

use super::actor::{Actor, Caller};
use super::grant::{BucketPattern, Grant, Role};
use super::policy::{Ask, Facts, UnknownFacts, Verdict};
use super::rules::{Circumstances, Judgement};
use crate::kernel::{BucketName, ObjectKey, Permission};

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Action {
    /// See which buckets there are (those that may be listed).
    ListBuckets,
    /// Make a bucket.
    CreateBucket,
    /// Remove an empty bucket.
    DeleteBucket,
    /// Change versioning, durability and settings, or read the settings.
    ConfigureBucket,
    /// List objects and versions; see the bucket and its figures.
    ListObjects,
    /// Read, play, see details.
    ReadObject,
    /// Store, copy to, tag.
    WriteObject,
    /// Delete an object or a version.
    DeleteObject,
    /// Remove or weaken what governance mode retains, and lift a legal hold.
    BypassRetention,
    /// See and end the unfinished uploads of others.
    ManageUploads,
    /// Node status.
    ReadStatus,
    /// Counters for a monitoring system.
    ReadMetrics,
    /// See jobs.
    ReadJobs,
    /// Cancel and retry jobs.
    ManageJobs,
    /// Make, list, rotate and revoke access keys.
    ManageKeys,
    /// Make, list and revoke signed links.
    CreateLink,
    /// Follow events.
    ReadEvents,
    /// Read the audit.
    ReadAudit,
    /// Checks and repairs of the node.
    ManageNode,
    /// Push a release.
    Deploy,
    /// Take jobs, read their sources, store their results.
    Worker,
}

impl Action {
    /// Every action, for tables and tests.
    pub const ALL: [Self; 21] = [
        Self::ListBuckets,
        Self::CreateBucket,
        Self::DeleteBucket,
        Self::ConfigureBucket,
        Self::ListObjects,
        Self::ReadObject,
        Self::WriteObject,
        Self::DeleteObject,
        Self::BypassRetention,
        Self::ManageUploads,
        Self::ReadStatus,
        Self::ReadMetrics,
        Self::ReadJobs,
        Self::ManageJobs,
        Self::ManageKeys,
        Self::CreateLink,
        Self::ReadEvents,
        Self::ReadAudit,
        Self::ManageNode,
        Self::Deploy,
        Self::Worker,
    ];

    /// As the audit stores it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ListBuckets => "list_buckets",
            Self::CreateBucket => "create_bucket",
            Self::DeleteBucket => "delete_bucket",
            Self::ConfigureBucket => "configure_bucket",
            Self::ListObjects => "list_objects",
            Self::ReadObject => "read_object",
            Self::WriteObject => "write_object",
            Self::DeleteObject => "delete_object",
            Self::BypassRetention => "bypass_retention",
            Self::ManageUploads => "manage_uploads",
            Self::ReadStatus => "read_status",
            Self::ReadMetrics => "read_metrics",
            Self::ReadJobs => "read_jobs",
            Self::ManageJobs => "manage_jobs",
            Self::ManageKeys => "manage_keys",
            Self::CreateLink => "create_link",
            Self::ReadEvents => "read_events",
            Self::ReadAudit => "read_audit",
            Self::ManageNode => "manage_node",
            Self::Deploy => "deploy",
            Self::Worker => "worker",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What it is done to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resource<'a> {
    /// The appliance.
    Node,
    /// A bucket, there or not.
    Bucket(&'a BucketName),
    /// Every object of a bucket whose key starts so, there or not.
    Prefix(&'a BucketName, &'a str),
    /// An object, there or not.
    Object(&'a BucketName, &'a ObjectKey),
}

impl Resource<'_> {
    fn bucket(&self) -> Option<&BucketName> {
        match self {
            Self::Node => None,
            Self::Bucket(bucket) | Self::Prefix(bucket, _) | Self::Object(bucket, _) => {
                Some(bucket)
            }
        }
    }

    /// Whether a grant on its bucket is held over it as well.
    fn is_reached_by(&self, grant: &Grant) -> bool {
        match self {
            Self::Node | Self::Bucket(_) => grant.is_whole(),
            Self::Prefix(_, prefix) => grant.reaches(prefix),
            Self::Object(_, key) => grant.reaches(key.as_str()),
        }
    }
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("node"),
            Self::Bucket(bucket) => write!(f, "{bucket}"),
            Self::Prefix(bucket, prefix) => write!(f, "{bucket}/{}*", prefix.escape_debug()),
            Self::Object(bucket, key) => write!(f, "{bucket}/{}", key.as_str().escape_debug()),
        }
    }
}

/// What a decision rests on; its `Display` is what the audit and the status page say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rule {
    /// The caller is the daemon.
    System,
    /// The caller holds the root key.
    Root,
    /// A grant's role on a pattern.
    Grant(BucketPattern, Role),
    /// A grant's flag.
    Flag(&'static str),
    /// The role `own` by this pattern, on what the caller made.
    Own(BucketPattern),
    /// A statement of the bucket's policy: its Sid, or its number.
    Policy(String),
    /// An access list grants this permission.
    Acl(Permission),
    /// The scope of a signed link.
    Link,
    /// No rule allows it.
    Default,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Root => f.write_str("root key"),
            Self::Grant(pattern, role) => write!(f, "grant {pattern}: {role}"),
            Self::Flag(flag) => write!(f, "grant: {flag}"),
            Self::Own(pattern) => write!(f, "grant {pattern}: own"),
            Self::Policy(statement) => write!(f, "bucket policy: {}", statement.escape_debug()),
            Self::Acl(permission) => write!(f, "access list: {}", permission.as_str()),
            Self::Link => f.write_str("signed link"),
            Self::Default => f.write_str("default deny"),
        }
    }
}

/// The answer of [`authorize`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct Decision {
    /// Whether it may be done.
    pub allow: bool,
    /// Why, for the caller's eyes: tells what is missing, not what exists.
    pub reason: Cow<'static, str>,
    /// What decided.
    pub rule: Rule,
}

impl Decision {
    fn by(rule: Rule) -> Self {
        Self {
            allow: true,
            reason: Cow::Borrowed("allowed"),
            rule,
        }
    }

    fn denied(reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            allow: false,
            reason: reason.into(),
            rule: Rule::Default,
        }
    }
}

/// What an action asks for on a resource.
enum Need {
    /// This role on the resource's bucket.
    OnBucket(Role),
    /// This role on the resource's bucket, or on some prefix in it.
    InBucket(Role),
    /// This role on `*`.
    OnAll(Role),
    /// Some role somewhere.
    Any,
    /// A flag of a grant.
    Flag(&'static str, fn(&Grant) -> bool),
    /// The action makes no sense on that resource.
    Never,
}

fn need(action: Action, resource: &Resource<'_>) -> Need {
    use Action as A;
    use Resource as R;
    match (action, resource) {
        (A::ListBuckets | A::ReadStatus | A::ReadEvents, R::Node) => Need::Any,
        (A::ReadJobs | A::ReadMetrics, R::Node) => Need::OnAll(Role::Read),
        (A::ManageKeys | A::ManageJobs | A::ManageNode | A::ReadAudit, R::Node) => {
            Need::OnAll(Role::Admin)
        }
        // The uploads and links of every bucket at once.
        (A::ManageUploads | A::CreateLink, R::Node) => Need::OnAll(Role::Write),
        (A::Deploy, R::Node) => Need::Flag("deploy", |grant| grant.deploy),
        (A::Worker, R::Node) => Need::Flag("worker", |grant| grant.worker),
        (A::ListBuckets, R::Bucket(_)) => Need::InBucket(Role::Read),
        (
            A::ListObjects | A::ReadEvents | A::ReadJobs,
            R::Bucket(_) | R::Prefix(..) | R::Object(..),
        )
        | (A::ReadObject, R::Object(..)) => Need::OnBucket(Role::Read),
        (A::ManageUploads | A::CreateLink, R::Bucket(_) | R::Prefix(..) | R::Object(..))
        | (A::WriteObject | A::DeleteObject, R::Object(..)) => Need::OnBucket(Role::Write),
        (A::CreateBucket | A::DeleteBucket | A::ConfigureBucket, R::Bucket(_))
        | (A::ManageJobs, R::Bucket(_) | R::Object(..))
        | (A::BypassRetention, R::Object(..)) => Need::OnBucket(Role::Admin),
        _ => Need::Never,
    }
}

/// Decides; pure, and called by every door before it acts.
pub fn authorize(
    caller: &Caller,
    action: Action,
    resource: &Resource<'_>,
    here: &Circumstances<'_>,
) -> Decision {
    if let Some(refusal) = refused_to_session(caller, action, resource, here) {
        return refusal;
    }
    match caller.actor() {
        Actor::System => return Decision::by(Rule::System),
        Actor::AccessKey { root: true, .. } => return Decision::by(Rule::Root),
        Actor::Link { .. } => return by_link(caller, action, resource),
        Actor::Anonymous
        | Actor::AccessKey { .. }
        | Actor::TailnetUser { .. }
        | Actor::TailnetNode { .. } => {}
    }
    let judgement = judge(caller, resource, here);
    if let Judgement::Denied(statement) = judgement {
        return Decision {
            allow: false,
            reason: Cow::Borrowed("the policy of the bucket denies it"),
            rule: Rule::Policy(statement),
        };
    }
    let granted = by_grant(caller, action, resource);
    if granted.allow {
        return granted;
    }
    let rule = by_owner(caller, action, resource, here).or(match judgement {
        Judgement::Allowed(statement) => Some(Rule::Policy(statement)),
        _ => by_list(caller, resource, here),
    });
    rule.map_or(granted, Decision::by)
}

/// What the bucket's policy says.
fn judge(caller: &Caller, resource: &Resource<'_>, here: &Circumstances<'_>) -> Judgement {
    match (here.rules, &here.s3) {
        (Some(rules), _) if rules.is_unreadable => {
            Judgement::Denied("its access rules cannot be read".to_owned())
        }
        (Some(rules), Some(ask)) if rules.policy.is_some() => {
            let path = match resource {
                Resource::Node => return Judgement::Silent,
                Resource::Bucket(bucket) | Resource::Prefix(bucket, _) => {
                    Cow::Borrowed(bucket.as_str())
                }
                Resource::Object(bucket, key) => Cow::Owned(format!("{bucket}/{}", key.as_str())),
            };
            rules.judge(caller.account(), caller.source(), &path, ask)
        }
        _ => Judgement::Silent,
    }
}

/// The pattern by which the caller may own buckets of this name.
fn owning<'a>(caller: &'a Caller, bucket: &BucketName) -> Option<&'a BucketPattern> {
    let grants = caller.grants().iter();
    let own = grants.filter(|grant| grant.role == Some(Role::Own));
    own.flat_map(|grant| &grant.buckets)
        .find(|pattern| pattern.matches(bucket))
}

/// Whether the role `own` allows it: making a bucket, and everything on one that the caller made.
fn by_owner(
    caller: &Caller,
    action: Action,
    resource: &Resource<'_>,
    here: &Circumstances<'_>,
) -> Option<Rule> {
    let bucket = resource.bucket()?;
    let pattern = owning(caller, bucket)?;
    let made = || {
        here.rules
            .is_some_and(|rules| caller.account() == Some(rules.owner.as_str()))
    };
    let sensible = matches!(
        need(action, resource),
        Need::OnBucket(_) | Need::InBucket(_)
    );
    (sensible && (action == Action::CreateBucket || made())).then(|| Rule::Own(pattern.clone()))
}

/// Whether an access list allows it.
fn by_list(caller: &Caller, resource: &Resource<'_>, here: &Circumstances<'_>) -> Option<Rule> {
    let (rules, ask, bucket) = (here.rules?, here.s3?, resource.bucket()?);
    let owns = owning(caller, bucket).is_some();
    rules.listed(caller.account(), owns, &ask).map(Rule::Acl)
}

/// What the caller's grants say.
fn by_grant(caller: &Caller, action: Action, resource: &Resource<'_>) -> Decision {
    if caller.is_anonymous() {
        return Decision::denied("no credential was given");
    }
    let held = |role: Role, wanted: &dyn Fn(&Grant, &BucketPattern) -> bool| {
        caller.grants().iter().find_map(|grant| {
            let has = grant.role.filter(|has| *has >= role)?;
            let pattern = grant
                .buckets
                .iter()
                .find(|pattern| wanted(grant, pattern))?;
            Some(Rule::Grant(pattern.clone(), has))
        })
    };
    let (rule, missing) = match need(action, resource) {
        Need::OnBucket(role) => (
            resource.bucket().and_then(|bucket| {
                held(role, &|grant, pattern| {
                    pattern.matches(bucket) && resource.is_reached_by(grant)
                })
            }),
            Some((role, resource.bucket().map_or("*", BucketName::as_str))),
        ),
        Need::InBucket(role) => (
            resource
                .bucket()
                .and_then(|bucket| held(role, &|_, pattern| pattern.matches(bucket))),
            Some((role, resource.bucket().map_or("*", BucketName::as_str))),
        ),
        Need::OnAll(role) => (
            held(role, &|grant, pattern| grant.is_whole() && pattern.is_all()),
            Some((role, "*")),
        ),
        Need::Any => (
            held(Role::Own, &|_, _| true),
            Some((Role::Read, "any bucket")),
        ),
        Need::Flag(name, set) => {
            let rule = caller.grants().iter().any(set).then_some(Rule::Flag(name));
            return rule.map_or_else(
                || Decision::denied(format!("{action} needs a grant with `{name}`")),
                Decision::by,
            );
        }
        Need::Never => (None, None),
    };
    match (rule, missing) {
        (Some(rule), _) => Decision::by(rule),
        (None, Some((role, bucket))) => {
            Decision::denied(format!("{action} needs the role {role} on {bucket}"))
        }
        (None, None) => Decision::denied(format!("{action} is not an action on {resource}")),
    }
}

/// What a temporary key may not do, whatever the key behind it may.
fn refused_to_session(
    caller: &Caller,
    action: Action,
    resource: &Resource<'_>,
    here: &Circumstances<'_>,
) -> Option<Decision> {
    use Action as A;
    let session = caller.session()?;
    if matches!(
        action,
        A::ManageKeys | A::CreateLink | A::Deploy | A::Worker
    ) {
        return Some(Decision::denied(format!(
            "{action} is not for temporary keys: use the key behind it"
        )));
    }
    refused_by_session_policy(caller, action, resource, here).or_else(|| {
        let within = session.bounds()?.may(action, resource);
        (!within.allow).then_some(within)
    })
}

/// What the policy of a temporary key does not allow; every action that the request asks for must be allowed.
fn refused_by_session_policy(
    caller: &Caller,
    action: Action,
    resource: &Resource<'_>,
    here: &Circumstances<'_>,
) -> Option<Decision> {
    let policy = caller.session()?.policy()?;
    let named = policy_action(action, resource);
    let (actions, facts): (&[&str], &dyn Facts) = match &here.s3 {
        Some(ask) => (ask.actions, ask.facts),
        None => (named.as_slice(), &UnknownFacts),
    };
    let path = match resource {
        // Only a pattern that means everything can mean what has no name.
        Resource::Node => String::new(),
        Resource::Object(bucket, _) if action == Action::ListObjects => bucket.to_string(),
        Resource::Bucket(bucket) | Resource::Prefix(bucket, _) => bucket.to_string(),
        Resource::Object(bucket, key) => format!("{bucket}/{}", key.as_str()),
    };
    let refusal = actions.iter().find_map(|name| {
        match policy.decide(&Ask {
            caller: caller.account(),
            source: caller.source(),
            action: name,
            resource: &path,
            facts,
        }) {
            Verdict::Allowed(_) => None,
            Verdict::Denied(_) => Some("the policy of the temporary key denies it"),
            Verdict::Silent => Some("the policy of the temporary key does not allow it"),
        }
    });
    let unnamed = actions
        .is_empty()
        .then_some("the policy of the temporary key cannot allow it: it is no action of S3");
    refusal.or(unnamed).map(Decision::denied)
}

/// What the actions of the house are called in policies; `None` for those that S3 has no word for.
pub(super) fn policy_action(action: Action, resource: &Resource<'_>) -> Option<&'static str> {
    match (action, resource) {
        (Action::ListBuckets, Resource::Node) => Some("ListAllMyBuckets"),
        // Seeing that a bucket is there, as HeadBucket does.
        (Action::ListObjects | Action::ListBuckets, _) => Some("ListBucket"),
        (Action::ReadObject, _) => Some("GetObject"),
        (Action::WriteObject, _) => Some("PutObject"),
        (Action::DeleteObject, _) => Some("DeleteObject"),
        (Action::CreateBucket, _) => Some("CreateBucket"),
        (Action::DeleteBucket, _) => Some("DeleteBucket"),
        _ => None,
    }
}

fn by_link(caller: &Caller, action: Action, resource: &Resource<'_>) -> Decision {
    match (action, resource, caller.link()) {
        (Action::ReadObject, Resource::Object(bucket, key), Some(scope))
            if scope.covers(bucket, key) =>
        {
            Decision::by(Rule::Link)
        }
        _ => Decision::denied("the link does not open this"),
    }
}

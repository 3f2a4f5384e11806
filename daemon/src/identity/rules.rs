//! What a bucket itself says about access: its owner, its policy, its list, and the two switches above them.
//!
//! Doors hand in the bucket's row, which they hold or look up once for each request; what its settings mean is remembered by their text, so that a policy is parsed once and never believed longer than the row says it.

use serde::{Deserialize, Serialize};

use super::policy::{Ask, Facts, Policy, Verdict};
use crate::catalog::BucketRow;
use crate::kernel::{Acl, Permission};

/// The setting of a bucket that holds its policy, as it was sent.
pub const POLICY_SETTING: &str = "policy";
/// The setting of a bucket that holds its access control list.
pub const ACL_SETTING: &str = "acl";
/// The setting of a bucket that holds its public access block.
pub const BLOCK_SETTING: &str = "public_access_block";
/// The setting of a bucket that says who owns what is stored in it.
pub const OWNERSHIP_SETTING: &str = "ownership";

/// Switches against letting in people who are not named (Amazon S3, Block Public Access).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PublicAccessBlock {
    /// Lists that grant to crowds are refused when they are set.
    pub block_public_acls: bool,
    /// Grants to crowds do not count.
    pub ignore_public_acls: bool,
    /// A public policy is refused when it is set.
    pub block_public_policy: bool,
    /// What a public policy allows does not count.
    pub restrict_public_buckets: bool,
}

/// Who owns the objects of a bucket (Amazon S3, Object Ownership).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Ownership {
    /// The bucket's owner, and lists do not count.
    BucketOwnerEnforced,
    /// The bucket's owner, when the writer offers it full control.
    BucketOwnerPreferred,
    /// Whoever wrote them.
    ObjectWriter,
}

impl Ownership {
    /// As it appears on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BucketOwnerEnforced => "BucketOwnerEnforced",
            Self::BucketOwnerPreferred => "BucketOwnerPreferred",
            Self::ObjectWriter => "ObjectWriter",
        }
    }

    /// Reads what [`Ownership::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::BucketOwnerEnforced,
            Self::BucketOwnerPreferred,
            Self::ObjectWriter,
        ]
        .into_iter()
        .find(|one| one.as_str() == text)
    }
}

/// The rules of one bucket.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct BucketRules {
    /// Who made the bucket.
    pub owner: String,
    /// Its policy.
    pub policy: Option<Policy>,
    /// Its list; the owner's full control alone when none is stored.
    pub acl: Option<Acl>,
    /// Its public access block, when one is set.
    pub block: Option<PublicAccessBlock>,
    /// Its ownership controls, when they are set.
    pub ownership: Option<Ownership>,
    /// Whether something of it is stored that this version cannot read; then nobody but the root key comes in.
    pub is_unreadable: bool,
}

/// What a decision needs to know of an object that is there.
#[derive(Clone, Copy, Debug)]
pub struct ObjectRules<'a> {
    /// Who owns it.
    pub owner: &'a str,
    /// Its list; the owner's full control alone when none is stored.
    pub acl: Option<&'a Acl>,
}

/// A request in the words of S3.
#[derive(Clone, Copy)]
pub struct S3Ask<'a> {
    /// The actions, without `s3:`, which must all be allowed; the first is what the request is about.
    pub actions: &'a [&'static str],
    /// What the request says to conditions.
    pub facts: &'a dyn Facts,
    /// The object, where it was looked at.
    pub object: Option<ObjectRules<'a>>,
}

/// What surrounds a question to `authorize()`; nothing, by default.
#[derive(Clone, Copy, Default)]
pub struct Circumstances<'a> {
    /// The rules of the bucket in question.
    pub rules: Option<&'a BucketRules>,
    /// What is asked in the words of S3; without it neither policy nor lists allow anything.
    pub s3: Option<S3Ask<'a>>,
}

/// What a bucket's policy says to a whole request.
pub(super) enum Judgement {
    Denied(String),
    Allowed(String),
    Silent,
}

#[derive(Deserialize)]
struct Stored {
    #[serde(default)]
    policy: Option<String>,
    #[serde(default)]
    acl: Option<Acl>,
    #[serde(default)]
    public_access_block: Option<PublicAccessBlock>,
    #[serde(default)]
    ownership: Option<Ownership>,
}

impl BucketRules {
    /// Reads the rules of a row.
    pub fn of(row: &BucketRow) -> Self {
        let read = || {
            let stored: Stored =
                serde_json::from_str(&row.settings).map_err(|error| error.to_string())?;
            let name = row
                .name
                .parse()
                .map_err(|_| "the bucket's name".to_owned())?;
            let policy = stored
                .policy
                .map(|text| Policy::parse(&text, &name).map_err(|error| error.to_string()))
                .transpose()?;
            Ok::<_, String>(Self {
                owner: account_of(&row.owner).to_owned(),
                policy,
                acl: stored.acl,
                block: stored.public_access_block,
                ownership: stored.ownership,
                is_unreadable: false,
            })
        };
        read().unwrap_or_else(|error| {
            tracing::error!(bucket = %row.name, "the access rules of {} are unreadable, so only the root key comes in: {error}", row.name);
            Self {
                owner: account_of(&row.owner).to_owned(),
                is_unreadable: true,
                ..Self::default()
            }
        })
    }

    /// The public access block in force.
    pub fn block(&self) -> PublicAccessBlock {
        self.block.unwrap_or_default()
    }

    /// Whether lists count in this bucket.
    pub fn has_lists(&self) -> bool {
        self.ownership != Some(Ownership::BucketOwnerEnforced)
    }

    /// What the policy says: one denied action denies the request, and all must be allowed to allow it.
    pub(super) fn judge(
        &self,
        caller: Option<&str>,
        source: Option<std::net::IpAddr>,
        resource: &str,
        ask: &S3Ask<'_>,
    ) -> Judgement {
        let Some(policy) = &self.policy else {
            return Judgement::Silent;
        };
        let mut allowed = None;
        let mut silent = ask.actions.is_empty();
        for action in ask.actions {
            match policy.decide(&Ask {
                caller,
                source,
                action,
                resource,
                facts: ask.facts,
            }) {
                Verdict::Denied(name) => return Judgement::Denied(name.to_owned()),
                Verdict::Allowed(name) => allowed = allowed.or(Some(name)),
                Verdict::Silent => silent = true,
            }
        }
        let restricted = self.block().restrict_public_buckets && policy.is_public();
        match allowed {
            Some(name) if !silent && !restricted => Judgement::Allowed(name.to_owned()),
            _ => Judgement::Silent,
        }
    }

    /// The permission by which a list of the bucket or of the object allows what the request is about.
    ///
    /// `owns` says whether this caller keeps rights to what it made: a key whose grants were taken away does not win them back as an owner.
    pub(super) fn listed(
        &self,
        caller: Option<&str>,
        owns: bool,
        ask: &S3Ask<'_>,
    ) -> Option<Permission> {
        if !self.has_lists() {
            return None;
        }
        let (is_object, wanted) = permission(ask.actions.first()?)?;
        let (owner, acl) = if is_object {
            let object = ask.object?;
            (account_of(object.owner), object.acl)
        } else {
            (self.owner.as_str(), self.acl.as_ref())
        };
        let is_owner = caller == Some(owner);
        let named = caller.filter(|_| owns || !is_owner);
        let allowed = match acl {
            Some(acl) => {
                let named_only = self.block().ignore_public_acls;
                acl.permits(named, wanted, named_only)
                    || (caller.is_some() && acl.permits(Some(""), wanted, named_only))
                    // An owner can always read and mend the list of what it owns.
                    || (owns && is_owner && matches!(wanted, Permission::ReadAcp | Permission::WriteAcp))
            }
            None => owns && is_owner,
        };
        allowed.then_some(wanted)
    }
}

/// Whether lists have a say on an action, and it is the object's list.
pub fn is_of_object_list(action: &str) -> bool {
    permission(action).is_some_and(|(is_object, _)| is_object)
}

/// The account in an owner's column: what doors other than S3 store names the kind of actor too.
pub fn account_of(owner: &str) -> &str {
    let kinds = ["key:", "tailnet:", "tailnet-node:"];
    let plain = kinds.iter().find_map(|kind| owner.strip_prefix(kind));
    plain.unwrap_or(owner)
}

/// Which permission of which list, the object's or the bucket's, an action needs; `None` where lists have no say.
fn permission(action: &str) -> Option<(bool, Permission)> {
    Some(match action {
        "ListBucket" | "ListBucketVersions" | "ListBucketMultipartUploads" => {
            (false, Permission::Read)
        }
        "PutObject" | "DeleteObject" | "AbortMultipartUpload" | "ListMultipartUploadParts" => {
            (false, Permission::Write)
        }
        "GetBucketAcl" => (false, Permission::ReadAcp),
        "PutBucketAcl" => (false, Permission::WriteAcp),
        "GetObject" | "GetObjectVersion" | "GetObjectAttributes" | "GetObjectVersionAttributes" => {
            (true, Permission::Read)
        }
        "GetObjectAcl" | "GetObjectVersionAcl" => (true, Permission::ReadAcp),
        "PutObjectAcl" | "PutObjectVersionAcl" => (true, Permission::WriteAcp),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::super::policy::NoFacts;
    use super::*;
    use crate::identity::{Action, Actor, Caller, Decision, Grant, Resource, Role};
    use crate::kernel::{AclGrant, BucketName, Grantee, ObjectKey};
    use serde_json::json;

    fn key(id: &str, grants: Vec<Grant>) -> Caller {
        let actor = Actor::AccessKey {
            id: id.parse().unwrap(),
            name: String::new(),
            root: id == "ROOT",
        };
        Caller::new(actor, grants)
    }

    fn with(id: &str, role: Role) -> Caller {
        key(id, vec![Grant::new(role, "*".parse().unwrap())])
    }

    fn rules(settings: serde_json::Value) -> BucketRules {
        let stored: Stored = serde_json::from_value(settings).unwrap();
        let bucket: BucketName = "films".parse().unwrap();
        BucketRules {
            owner: "OWNER".into(),
            policy: stored
                .policy
                .map(|text| Policy::parse(&text, &bucket).unwrap()),
            acl: stored.acl,
            block: stored.public_access_block,
            ownership: stored.ownership,
            is_unreadable: false,
        }
    }

    fn policy(effect: &str, principal: &str, action: &str) -> serde_json::Value {
        let text = json!({"Statement": [{"Sid": "S", "Effect": effect, "Principal": {"AWS": principal},
            "Action": action, "Resource": ["arn:aws:s3:::films", "arn:aws:s3:::films/*"]}]});
        json!(text.to_string())
    }

    fn ask(
        caller: &Caller,
        action: Action,
        name: &'static str,
        rules: &BucketRules,
        object: Option<ObjectRules<'_>>,
    ) -> Decision {
        let (bucket, key): (BucketName, ObjectKey) =
            ("films".parse().unwrap(), "a".parse().unwrap());
        let resource = match action {
            Action::ReadObject | Action::WriteObject | Action::DeleteObject => {
                Resource::Object(&bucket, &key)
            }
            _ => Resource::Bucket(&bucket),
        };
        let s3 = S3Ask {
            actions: &[name],
            facts: &NoFacts,
            object,
        };
        let here = Circumstances {
            rules: Some(rules),
            s3: Some(s3),
        };
        caller.may_here(action, &resource, &here)
    }

    #[test]
    fn a_policy_opens_a_bucket_to_strangers_and_closes_it_to_admins_but_never_to_root() {
        let open = rules(json!({"policy": policy("Allow", "*", "s3:GetObject")}));
        let get = |caller: &Caller, rules: &BucketRules| {
            ask(caller, Action::ReadObject, "GetObject", rules, None)
        };
        let stranger = Caller::anonymous();
        assert!(get(&stranger, &open).allow);
        assert_eq!(get(&stranger, &open).rule.to_string(), "bucket policy: S");
        assert!(get(&key("SOME", vec![]), &open).allow);
        assert!(!ask(&stranger, Action::WriteObject, "PutObject", &open, None).allow);
        let closed = rules(json!({"policy": policy("Deny", "*", "s3:*")}));
        let refused = get(&with("SOME", Role::Admin), &closed);
        assert!(!refused.allow);
        assert_eq!(refused.rule.to_string(), "bucket policy: S");
        assert!(get(&with("ROOT", Role::Read), &closed).allow);
        assert!(get(&Caller::system(), &closed).allow);
        let named = rules(json!({"policy": policy("Allow", "SOME", "s3:GetObject")}));
        assert!(get(&key("SOME", vec![]), &named).allow);
        assert!(!get(&key("OTHER", vec![]), &named).allow && !get(&stranger, &named).allow);
    }

    #[test]
    fn every_action_of_a_request_must_be_allowed_and_none_denied() {
        let (bucket, key_): (BucketName, ObjectKey) =
            ("films".parse().unwrap(), "a".parse().unwrap());
        let both = |rules: &BucketRules| {
            let s3 = S3Ask {
                actions: &["PutObject", "PutObjectAcl"],
                facts: &NoFacts,
                object: None,
            };
            let here = Circumstances {
                rules: Some(rules),
                s3: Some(s3),
            };
            let caller = key("SOME", vec![]);
            caller
                .may_here(
                    Action::WriteObject,
                    &Resource::Object(&bucket, &key_),
                    &here,
                )
                .allow
        };
        assert!(!both(&rules(
            json!({"policy": policy("Allow", "*", "s3:PutObject")})
        )));
        assert!(both(&rules(
            json!({"policy": policy("Allow", "*", "s3:PutObject*")})
        )));
    }

    #[test]
    fn the_role_own_rules_what_it_made_and_nothing_else() {
        let plain = rules(json!({}));
        let (owner, other) = (with("OWNER", Role::Own), with("OTHER", Role::Own));
        for (action, name) in [
            (Action::ReadObject, "GetObject"),
            (Action::WriteObject, "PutObject"),
            (Action::ListObjects, "ListBucket"),
            (Action::ConfigureBucket, "PutBucketPolicy"),
            (Action::DeleteBucket, "DeleteBucket"),
        ] {
            assert!(ask(&owner, action, name, &plain, None).allow, "{name}");
            assert!(!ask(&other, action, name, &plain, None).allow, "{name}");
            // A key that lost the role has nothing left by having made the bucket.
            assert!(
                !ask(&key("OWNER", vec![]), action, name, &plain, None).allow,
                "{name}"
            );
        }
        assert!(ask(&other, Action::CreateBucket, "CreateBucket", &plain, None).allow);
        assert!(other.may(Action::ListBuckets, &Resource::Node).allow);
        assert!(!owner.may(Action::ManageKeys, &Resource::Node).allow);
    }

    #[test]
    fn lists_let_in_whom_they_name() {
        let list = |grantee, permission| {
            serde_json::to_value(Acl(vec![AclGrant {
                grantee,
                permission,
            }]))
            .unwrap()
        };
        let stranger = Caller::anonymous();
        let known = key("SOME", vec![]);
        let read = rules(json!({"acl": list(Grantee::Everyone, Permission::Read)}));
        let lists = |caller: &Caller, rules: &BucketRules| {
            ask(caller, Action::ListObjects, "ListBucket", rules, None)
        };
        assert_eq!(
            lists(&stranger, &read).rule.to_string(),
            "access list: READ"
        );
        // Listing is not reading.
        let object = ObjectRules {
            owner: "OWNER",
            acl: None,
        };
        assert!(
            !ask(
                &stranger,
                Action::ReadObject,
                "GetObject",
                &read,
                Some(object)
            )
            .allow
        );
        let ignored = rules(json!({"acl": list(Grantee::Everyone, Permission::Read),
            "public_access_block": {"ignore_public_acls": true}}));
        assert!(!lists(&stranger, &ignored).allow && !lists(&known, &ignored).allow);
        let off = rules(
            json!({"acl": list(Grantee::Everyone, Permission::Read), "ownership": "BucketOwnerEnforced"}),
        );
        assert!(!lists(&stranger, &off).allow);
        let authenticated = rules(json!({"acl": list(Grantee::Authenticated, Permission::Read)}));
        assert!(!lists(&stranger, &authenticated).allow && lists(&known, &authenticated).allow);
        let named =
            rules(json!({"acl": list(Grantee::Id("SOME".into()), Permission::FullControl)}));
        assert!(
            ask(
                &known,
                Action::ConfigureBucket,
                "PutBucketAcl",
                &named,
                None
            )
            .allow
        );
        assert!(ask(&known, Action::WriteObject, "PutObject", &named, None).allow);
        assert!(
            !ask(
                &known,
                Action::ConfigureBucket,
                "PutBucketPolicy",
                &named,
                None
            )
            .allow
        );
        let denied = rules(json!({"acl": list(Grantee::Everyone, Permission::Read),
            "policy": policy("Deny", "*", "s3:ListBucket")}));
        assert!(!lists(&known, &denied).allow);
    }

    #[test]
    fn an_object_is_read_by_its_own_list() {
        let plain = rules(json!({}));
        let get = |caller: &Caller, owner: &str, acl: Option<&Acl>| {
            ask(
                caller,
                Action::ReadObject,
                "GetObject",
                &plain,
                Some(ObjectRules { owner, acl }),
            )
            .allow
        };
        let public = Acl(vec![AclGrant {
            grantee: Grantee::Everyone,
            permission: Permission::Read,
        }]);
        assert!(get(&Caller::anonymous(), "W", Some(&public)));
        assert!(!get(&Caller::anonymous(), "WRITER", None));
        assert!(get(&with("WRITER", Role::Own), "WRITER", None));
        assert!(!get(&key("WRITER", vec![]), "WRITER", None));
        let own = Acl::private("WRITER");
        assert!(!get(&key("WRITER", vec![]), "WRITER", Some(&own)));
    }

    #[test]
    fn a_restricted_bucket_ignores_what_a_public_policy_allows() {
        let with_block = |principal: &str| {
            let rules = rules(json!({"policy": policy("Allow", principal, "s3:GetObject"),
                "public_access_block": {"restrict_public_buckets": true}}));
            ask(
                &key("SOME", vec![]),
                Action::ReadObject,
                "GetObject",
                &rules,
                None,
            )
            .allow
        };
        assert!(!with_block("*"));
        assert!(with_block("SOME"));
    }

    #[test]
    fn rules_that_cannot_be_read_let_in_nobody_but_root() {
        let unreadable = BucketRules {
            is_unreadable: true,
            ..BucketRules::default()
        };
        let list = |caller: &Caller| {
            ask(caller, Action::ListObjects, "ListBucket", &unreadable, None).allow
        };
        assert!(!list(&with("SOME", Role::Admin)));
        assert!(list(&with("ROOT", Role::Read)));
    }
}

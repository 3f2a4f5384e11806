//! Access control lists as S3 knows them: who was granted what on a bucket or an object.
//!
//! A list is data; whether it counts at all (a bucket may switch lists off) is decided with everything else in `authorize()`.

use serde::{Deserialize, Serialize};

/// Grants of one list (Amazon S3, access control list overview).
pub const ACL_GRANTS_MAX: usize = 100;

/// What a grant allows; on an object `Write` allows nothing, as objects are replaced through their bucket.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Permission {
    /// List a bucket; read an object.
    Read,
    /// Store and delete objects of a bucket.
    Write,
    /// Read the list.
    ReadAcp,
    /// Replace the list.
    WriteAcp,
    /// All four.
    FullControl,
}

impl Permission {
    /// Every permission, in the order in which S3 names them.
    pub const ALL: [Self; 5] = [
        Self::Read,
        Self::Write,
        Self::ReadAcp,
        Self::WriteAcp,
        Self::FullControl,
    ];

    /// As it appears on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::ReadAcp => "READ_ACP",
            Self::WriteAcp => "WRITE_ACP",
            Self::FullControl => "FULL_CONTROL",
        }
    }

    /// Reads what [`Permission::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }

    fn includes(self, wanted: Self) -> bool {
        self == wanted || self == Self::FullControl
    }
}

/// Who was granted something.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grantee {
    /// Anybody, without a credential.
    Everyone,
    /// Whoever has a credential of this appliance.
    Authenticated,
    /// The service that writes access logs; nobody here is it.
    LogDelivery,
    /// An access key id or a tailnet login.
    Id(String),
}

/// One line of a list.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct AclGrant {
    /// Who.
    #[serde(rename = "to")]
    pub grantee: Grantee,
    /// What.
    #[serde(rename = "may")]
    pub permission: Permission,
}

/// An access control list; where none is stored, the owner alone has full control.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Acl(pub Vec<AclGrant>);

impl Acl {
    /// What `private` means.
    pub fn private(owner: &str) -> Self {
        Self(vec![AclGrant {
            grantee: Grantee::Id(owner.to_owned()),
            permission: Permission::FullControl,
        }])
    }

    /// Whether this says no more than [`Acl::private`] does.
    pub fn is_private(&self, owner: &str) -> bool {
        *self == Self::private(owner)
    }

    /// Whether it grants anything to people who are not named.
    pub fn is_public(&self) -> bool {
        self.0.iter().any(|grant| is_crowd(&grant.grantee))
    }

    /// Whether it grants `wanted` to this caller, `None` being nobody known; `named_only` passes over grants to crowds.
    pub fn permits(&self, caller: Option<&str>, wanted: Permission, named_only: bool) -> bool {
        self.0.iter().any(|grant| {
            grant.permission.includes(wanted)
                && match &grant.grantee {
                    Grantee::Everyone => !named_only,
                    Grantee::Authenticated => !named_only && caller.is_some(),
                    Grantee::LogDelivery => false,
                    Grantee::Id(id) => caller == Some(id.as_str()),
                }
        })
    }
}

fn is_crowd(grantee: &Grantee) -> bool {
    matches!(grantee, Grantee::Everyone | Grantee::Authenticated)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn one(grantee: Grantee, permission: Permission) -> Acl {
        Acl(vec![AclGrant {
            grantee,
            permission,
        }])
    }

    #[test]
    fn a_list_permits_whom_it_names() {
        use Permission as P;
        let everyone = one(Grantee::Everyone, P::Read);
        assert!(everyone.permits(None, P::Read, false));
        assert!(!everyone.permits(None, P::Read, true));
        assert!(!everyone.permits(Some("a"), P::Write, false));
        let known = one(Grantee::Authenticated, P::Read);
        assert!(!known.permits(None, P::Read, false));
        assert!(known.permits(Some("a"), P::Read, false));
        let full = one(Grantee::Id("a".into()), P::FullControl);
        assert!(full.permits(Some("a"), P::WriteAcp, true));
        assert!(!full.permits(Some("b"), P::Read, false));
        assert!(!full.is_public() && everyone.is_public() && known.is_public());
        assert!(full.is_private("a") && !full.is_private("b"));
    }

    #[test]
    fn a_list_is_stored_short_and_read_back() {
        let list = Acl(vec![
            AclGrant {
                grantee: Grantee::Everyone,
                permission: Permission::Read,
            },
            AclGrant {
                grantee: Grantee::Id("NEB1".into()),
                permission: Permission::FullControl,
            },
        ]);
        let text = serde_json::to_string(&list).unwrap();
        assert_eq!(
            text,
            r#"[{"to":"everyone","may":"READ"},{"to":{"id":"NEB1"},"may":"FULL_CONTROL"}]"#
        );
        assert_eq!(serde_json::from_str::<Acl>(&text).unwrap(), list);
    }
}

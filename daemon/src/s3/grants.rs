//! Grants as they come in headers and bodies, and as they are shown.

use http::HeaderMap;
use s3s::dto::{self, AccessControlPolicy, Type};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::access::identity;
use super::error::say;
use super::owners::display_name;
use crate::kernel::{ACL_GRANTS_MAX, Acl, AclGrant, Grantee, Permission};

const EVERYONE: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const AUTHENTICATED: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
const LOG_DELIVERY: &str = "http://acs.amazonaws.com/groups/s3/LogDelivery";

/// Headers that grant, with what they grant.
const HEADERS: [(&str, Permission); 5] = [
    ("x-amz-grant-read", Permission::Read),
    ("x-amz-grant-write", Permission::Write),
    ("x-amz-grant-read-acp", Permission::ReadAcp),
    ("x-amz-grant-write-acp", Permission::WriteAcp),
    ("x-amz-grant-full-control", Permission::FullControl),
];

/// A list as a request brings it.
pub(super) enum Sent {
    /// A canned one, by its name.
    Canned(String),
    /// Grants, one by one.
    Grants(Acl),
}

impl Sent {
    /// The list itself.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that no canned list of a bucket, or of an object, has.
    pub(super) fn list(self, owner: &str, bucket_owner: &str, is_bucket: bool) -> S3Result<Acl> {
        use Grantee as G;
        use Permission as P;
        let name = match self {
            Self::Grants(acl) => return Ok(acl),
            Self::Canned(name) => name,
        };
        let with = |more: &[(G, P)]| {
            let more = more.iter().cloned();
            let own = (G::Id(owner.to_owned()), P::FullControl);
            let all = more.chain([own]).map(|(grantee, permission)| AclGrant {
                grantee,
                permission,
            });
            Acl(all.collect())
        };
        let bucket_owner = |permission| {
            if bucket_owner == owner {
                return with(&[]);
            }
            let mut acl = with(&[]);
            acl.0.push(AclGrant {
                grantee: G::Id(bucket_owner.to_owned()),
                permission,
            });
            acl
        };
        Ok(match (name.as_str(), is_bucket) {
            ("public-read", _) => with(&[(G::Everyone, P::Read)]),
            ("public-read-write", _) => with(&[(G::Everyone, P::Read), (G::Everyone, P::Write)]),
            ("authenticated-read", _) => with(&[(G::Authenticated, P::Read)]),
            ("log-delivery-write", true) => {
                with(&[(G::LogDelivery, P::Write), (G::LogDelivery, P::ReadAcp)])
            }
            ("bucket-owner-read", false) => bucket_owner(P::Read),
            ("bucket-owner-full-control", false) => bucket_owner(P::FullControl),
            // On a bucket the last two mean nothing and do no harm (Amazon S3, canned ACL).
            ("private", _) | ("bucket-owner-read" | "bucket-owner-full-control", true) => with(&[]),
            _ => return Err(invalid(format!("there is no canned list `{}`", cut(&name)))),
        })
    }
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

fn invalid(text: impl Into<String>) -> S3Error {
    say(S3ErrorCode::InvalidArgument, text.into())
}

/// The list in the headers, when there is one.
///
/// # Errors
/// `InvalidRequest` for both kinds at once, `InvalidArgument` for a grantee that is none.
pub(super) fn of_headers(headers: &HeaderMap) -> S3Result<Option<Sent>> {
    let text = |name: &str| {
        let value = headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
    };
    let canned = text("x-amz-acl");
    let mut grants = Vec::new();
    let mut any = false;
    for (name, permission) in HEADERS {
        let Some(value) = text(name) else { continue };
        any = true;
        for part in value.split(',') {
            grants.push(AclGrant {
                grantee: of_part(part.trim())?,
                permission,
            });
        }
    }
    match (canned, any) {
        (Some(_), true) => Err(say(
            S3ErrorCode::InvalidRequest,
            "Specifying both Canned ACLs and Header Grants is not allowed",
        )),
        (Some(name), false) => Ok(Some(Sent::Canned(name))),
        (None, true) => Ok(Some(Sent::Grants(bounded(grants)?))),
        (None, false) => Ok(None),
    }
}

/// `id=…`, `uri=…` or `emailAddress=…`, quoted or not.
fn of_part(part: &str) -> S3Result<Grantee> {
    let wrong = || {
        invalid(format!(
            "the grantee `{}` is not id=…, uri=… or emailAddress=…",
            cut(part)
        ))
    };
    let (kind, value) = part.split_once('=').ok_or_else(wrong)?;
    let value = value.trim().trim_matches('"');
    match kind.trim() {
        "id" if !value.is_empty() => Ok(Grantee::Id(value.to_owned())),
        "uri" => of_uri(value),
        "emailAddress" => Err(by_mail(value)),
        _ => Err(wrong()),
    }
}

fn of_uri(uri: &str) -> S3Result<Grantee> {
    match uri {
        EVERYONE => Ok(Grantee::Everyone),
        AUTHENTICATED => Ok(Grantee::Authenticated),
        LOG_DELIVERY => Ok(Grantee::LogDelivery),
        _ => Err(invalid(format!("there is no group `{}`", cut(uri)))),
    }
}

fn by_mail(address: &str) -> S3Error {
    say(
        S3ErrorCode::UnresolvableGrantByEmailAddress,
        format!(
            "The e-mail address you provided does not match any account on record: `{}`; name an access key id or a tailnet login by id",
            cut(address)
        ),
    )
}

fn bounded(grants: Vec<AclGrant>) -> S3Result<Acl> {
    if grants.len() > ACL_GRANTS_MAX {
        return Err(say(
            S3ErrorCode::MalformedACLError,
            format!("a list has at most {ACL_GRANTS_MAX} grants"),
        ));
    }
    Ok(Acl(grants))
}

/// The list in a body, whose owner must be the one that there is.
pub(super) fn of_policy(policy: AccessControlPolicy, owner: &str) -> S3Result<Sent> {
    let malformed = |text: &'static str| say(S3ErrorCode::MalformedACLError, text);
    let named = policy.owner.and_then(|owner| owner.id);
    match named.as_deref() {
        None => return Err(malformed("the list names no owner")),
        Some(named) if named != owner => {
            return Err(say(
                S3ErrorCode::AccessDenied,
                "a list cannot change the owner",
            ));
        }
        Some(_) => {}
    }
    let mut grants = Vec::new();
    for grant in policy.grants.unwrap_or_default() {
        let permission = grant.permission.and_then(|p| Permission::parse(p.as_str()));
        let permission =
            permission.ok_or_else(|| malformed("a grant has no permission that exists"))?;
        let grantee = grant
            .grantee
            .ok_or_else(|| malformed("a grant has no grantee"))?;
        let grantee = match (
            grantee.type_.as_str(),
            grantee.id,
            grantee.uri,
            grantee.email_address,
        ) {
            (Type::CANONICAL_USER, Some(id), _, _) if !id.is_empty() => Grantee::Id(id),
            (Type::GROUP, _, Some(uri), _) => of_uri(&uri)?,
            (Type::AMAZON_CUSTOMER_BY_EMAIL, _, _, Some(address)) => return Err(by_mail(&address)),
            _ => {
                return Err(malformed(
                    "a grantee is a CanonicalUser with an ID or a Group with a URI",
                ));
            }
        };
        grants.push(AclGrant {
            grantee,
            permission,
        });
    }
    Ok(Sent::Grants(bounded(grants)?))
}

/// Refuses a list that names somebody who does not exist.
pub(super) async fn known(sent: &Sent) -> S3Result<()> {
    let (Some(identity), Sent::Grants(acl)) = (identity(), sent) else {
        return Ok(());
    };
    for grant in &acl.0 {
        let Grantee::Id(id) = &grant.grantee else {
            continue;
        };
        // Who is in the tailnet, only the tailnet knows.
        let exists = id.contains('@')
            || identity
                .display_name(id)
                .await
                .is_ok_and(|name| name.is_some());
        if !exists {
            return Err(invalid(format!("Invalid id: there is no `{}`", cut(id))));
        }
    }
    Ok(())
}

/// Grants as an answer shows them.
pub(super) async fn shown(acl: &Acl) -> Vec<dto::Grant> {
    let mut grants = Vec::with_capacity(acl.0.len());
    // Crowds first: that is what a reader must see.
    let mut all: Vec<_> = acl.0.iter().collect();
    all.sort_by_key(|grant| matches!(grant.grantee, Grantee::Id(_)));
    for grant in all {
        let group = |uri: &str| dto::Grantee {
            display_name: None,
            email_address: None,
            id: None,
            type_: Type::from_static(Type::GROUP),
            uri: Some(uri.to_owned()),
        };
        let grantee = match &grant.grantee {
            Grantee::Everyone => group(EVERYONE),
            Grantee::Authenticated => group(AUTHENTICATED),
            Grantee::LogDelivery => group(LOG_DELIVERY),
            Grantee::Id(id) => dto::Grantee {
                display_name: Some(display_name(id).await),
                email_address: None,
                id: Some(id.clone()),
                type_: Type::from_static(Type::CANONICAL_USER),
                uri: None,
            },
        };
        grants.push(dto::Grant {
            grantee: Some(grantee),
            permission: Some(dto::Permission::from_static(grant.permission.as_str())),
        });
    }
    grants
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn of(pairs: &[(&'static str, &str)]) -> Result<Option<Acl>, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        let code = |error: S3Error| error.code().as_str().to_owned();
        let sent = of_headers(&headers).map_err(code)?;
        sent.map(|sent| sent.list("me", "them", false).map_err(code))
            .transpose()
    }

    #[test]
    fn headers_name_a_list_or_grant_one_by_one() {
        assert_eq!(of(&[]), Ok(None));
        assert!(
            of(&[("x-amz-acl", "private")])
                .unwrap()
                .unwrap()
                .is_private("me")
        );
        assert!(
            of(&[("x-amz-acl", "public-read")])
                .unwrap()
                .unwrap()
                .is_public()
        );
        let full = of(&[("x-amz-acl", "bucket-owner-full-control")])
            .unwrap()
            .unwrap();
        assert!(full.permits(Some("them"), Permission::WriteAcp, true));
        let grants = [
            (
                "x-amz-grant-read",
                "id=\"a\", uri=\"http://acs.amazonaws.com/groups/global/AllUsers\"",
            ),
            ("x-amz-grant-full-control", "id=b"),
        ];
        let list = of(&grants).unwrap().unwrap();
        assert_eq!(list.0.len(), 3);
        assert!(list.permits(None, Permission::Read, false));
        assert!(list.permits(Some("b"), Permission::Write, true));
        assert!(!list.permits(Some("me"), Permission::ReadAcp, true));
    }

    #[test]
    fn what_is_no_list_is_refused_in_the_words_of_s3() {
        for (pairs, code) in [
            (vec![("x-amz-acl", "open")], "InvalidArgument"),
            (vec![("x-amz-acl", "log-delivery-write")], "InvalidArgument"),
            (
                vec![("x-amz-acl", "private"), ("x-amz-grant-read", "id=a")],
                "InvalidRequest",
            ),
            (vec![("x-amz-grant-read", "a")], "InvalidArgument"),
            (vec![("x-amz-grant-read", "id=")], "InvalidArgument"),
            (
                vec![("x-amz-grant-read", "uri=http://example.org/")],
                "InvalidArgument",
            ),
            (
                vec![("x-amz-grant-read", "emailAddress=a@b")],
                "UnresolvableGrantByEmailAddress",
            ),
        ] {
            assert_eq!(of(&pairs), Err(code.to_owned()), "{pairs:?}");
        }
        let many = vec!["id=a"; ACL_GRANTS_MAX + 1].join(",");
        assert_eq!(
            of(&[("x-amz-grant-read", &many)]),
            Err("MalformedACLError".to_owned())
        );
    }

    #[test]
    fn a_list_in_a_body_keeps_the_owner() {
        let policy = |owner: Option<&str>| AccessControlPolicy {
            grants: None,
            owner: owner.map(|id| dto::Owner {
                display_name: None,
                id: Some(id.to_owned()),
            }),
        };
        let code = |policy| {
            of_policy(policy, "me")
                .err()
                .map(|e| e.code().as_str().to_owned())
        };
        assert_eq!(code(policy(Some("me"))), None);
        assert_eq!(code(policy(Some("you"))).as_deref(), Some("AccessDenied"));
        assert_eq!(code(policy(None)).as_deref(), Some("MalformedACLError"));
    }
}

//! Temporary keys as SDKs ask for them: the Security Token Service of Amazon's, a form sent to the root of this door.
//!
//! There are no roles here: `AssumeRole` takes any and gives what the caller has itself, as the other two calls do.
//! A policy in the call narrows it further; a scope of grants is asked of the JSON API, and what would narrow it otherwise is refused, never ignored.

use std::fmt::Write as _;

use http::{Extensions, HeaderMap, Method, Request, Response, Uri, header};
use s3s::route::S3Route;
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::access;
use super::error::{bad_request, not_built, say};
use super::guard::parameters;
use super::host;
use super::request::unavailable;
use crate::http::Gate;
use crate::identity::{
    Caller, CreatedSession, Identity, IdentityError, NewSession, SESSION_POLICY_BYTES_MAX, Secret,
    SessionRefusal,
};
use crate::kernel::{Id, Millis};

/// Longest form; as much as `s3s` reads to check its signature.
const FORM_BYTES_MAX: usize = 8 * 1024;
const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
/// The account of every ARN here.
const ACCOUNT: &str = "000000000000";

/// Whether a request is for this service.
pub(super) fn is_asked<B>(request: &Request<B>, domain: Option<&str>) -> bool {
    is_form(request.method(), request.uri(), request.headers(), domain)
}

fn is_form(method: &Method, uri: &Uri, headers: &HeaderMap, domain: Option<&str>) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .map(http::HeaderValue::as_bytes);
    method == Method::POST
        && uri.path() == "/"
        && kind.is_some_and(|kind| kind.starts_with(b"application/x-www-form-urlencoded"))
        && host::label_of(headers, uri, domain).is_none()
}

/// The secret and the caller behind a claimed key, temporary or lasting.
///
/// # Errors
/// `InvalidAccessKeyId` for a key that is not there; `InvalidToken` and `ExpiredToken` for what a temporary key came with.
pub(super) async fn credential(
    gate: &Gate,
    id: &str,
    token: Option<&str>,
) -> S3Result<(Secret, Caller)> {
    let identity = gate.identity();
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        let found = identity.secret_of(id).await.map_err(unavailable)?;
        return found.ok_or_else(|| {
            say(
                S3ErrorCode::InvalidAccessKeyId,
                "there is no such access key, or it is disabled or expired",
            )
        });
    };
    identity
        .session_of(id, token)
        .await
        .map_err(unavailable)?
        .map_err(|refusal| match refusal {
            SessionRefusal::Invalid => say(
                S3ErrorCode::InvalidToken,
                "the security token does not belong to this access key",
            ),
            SessionRefusal::Expired => say(
                S3ErrorCode::ExpiredToken,
                "the temporary key has expired; ask for another",
            ),
            SessionRefusal::Revoked => say(
                S3ErrorCode::InvalidAccessKeyId,
                "this temporary key was revoked, or the access key that made it is gone, disabled, expired or has a new secret",
            ),
        })
}

/// Rewrites an error as clients of this service read it.
pub(super) fn wrap(response: &mut Response<Body>) {
    if response.status().as_u16() < 400 {
        return;
    }
    let document = response.body().bytes();
    let text = document
        .as_ref()
        .and_then(|document| std::str::from_utf8(document).ok());
    if let Some(wrapped) = text.and_then(wrapped) {
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::from(wrapped);
    }
}

fn wrapped(document: &str) -> Option<String> {
    let start = document.find("<Error>")? + "<Error>".len();
    let inner = document[start..].strip_suffix("</Error>")?;
    let inner = inner.replace("<Code>InvalidAccessKeyId<", "<Code>InvalidClientTokenId<");
    Some(format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type>{inner}</Error></ErrorResponse>"
    ))
}

/// The route to it within `s3s`, which has checked the signature before.
pub(super) struct Sts {
    /// The domain below which host names are buckets, which have no such service.
    pub(super) domain: Option<String>,
}

#[async_trait::async_trait]
impl S3Route for Sts {
    fn is_match(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        _: &mut Extensions,
    ) -> bool {
        is_form(method, uri, headers, self.domain.as_deref())
    }

    async fn call(&self, mut request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let denied = || {
            say(
                S3ErrorCode::AccessDenied,
                "sign the request with an access key of this appliance",
            )
        };
        let (identity, caller) = access::verified().ok_or_else(denied)?;
        let form = request.input.store_all_limited(FORM_BYTES_MAX).await;
        let form = form.map_err(|_| {
            bad_request(
                "ValidationError",
                format!("the form cannot be read, or has more than {FORM_BYTES_MAX} bytes"),
            )
        })?;
        let form = std::str::from_utf8(&form)
            .map_err(|_| bad_request("ValidationError", "the form is not UTF-8"))?;
        let answer = answer(&identity, &caller, Form(parameters(form)?)).await?;
        let mut response = S3Response::new(Body::from(answer));
        let kind = http::HeaderValue::from_static("text/xml");
        response.headers.insert(header::CONTENT_TYPE, kind);
        Ok(response)
    }
}

/// The parameters of a call.
struct Form(Vec<(String, String)>);

impl Form {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Refuses what is not understood: it might have been meant to take rights away.
    fn holds_only(&self, known: &[&str]) -> S3Result<()> {
        let usual = ["Action", "Version", "DurationSeconds"];
        let strange = |name: &&str| !usual.contains(name) && !known.contains(name);
        match self.0.iter().map(|(name, _)| name.as_str()).find(strange) {
            None => Ok(()),
            Some(name) => Err(not_built(&name.chars().take(64).collect::<String>())),
        }
    }

    fn required(&self, name: &str) -> S3Result<String> {
        let value = self.get(name).filter(|value| !value.is_empty());
        value.map(str::to_owned).ok_or_else(|| {
            bad_request(
                "MissingParameter",
                format!("the parameter {name} is missing"),
            )
        })
    }

    fn life_s(&self) -> S3Result<u64> {
        let Some(text) = self.get("DurationSeconds") else {
            return Ok(nebula_api::session::DEFAULT_EXPIRES_IN_S);
        };
        text.parse().map_err(|_| {
            bad_request(
                "ValidationError",
                "DurationSeconds is not a number of seconds",
            )
        })
    }
}

async fn answer(identity: &Identity, caller: &Caller, form: Form) -> S3Result<String> {
    let account = access::owner(caller);
    let action = form.required("Action")?;
    let named = match action.as_str() {
        "AssumeRole" => {
            form.holds_only(&["RoleArn", "RoleSessionName", "ExternalId", "Policy"])?;
            // Clients of MinIO's send no name.
            form.get("RoleSessionName").unwrap_or_default().to_owned()
        }
        "GetSessionToken" => {
            form.holds_only(&[])?;
            String::new()
        }
        "GetFederationToken" => {
            form.holds_only(&["Name", "Policy"])?;
            form.required("Name")?
        }
        "GetCallerIdentity" => {
            form.holds_only(&[])?;
            let arn = match caller.session() {
                Some(session) => role_arn(&account, &session.name),
                None => format!("arn:aws:iam::{ACCOUNT}:user/{account}"),
            };
            return Ok(document(
                &action,
                &[("Arn", &arn), ("UserId", &account), ("Account", ACCOUNT)],
                "",
            ));
        }
        other => {
            return Err(bad_request(
                "InvalidAction",
                format!(
                    "there is no action {}; AssumeRole, GetSessionToken, GetFederationToken and GetCallerIdentity are",
                    other.chars().take(64).collect::<String>()
                ),
            ));
        }
    };
    let new = NewSession {
        name: named.clone(),
        expires_in_s: form.life_s()?,
        scope: Vec::new(),
        policy: form.get("Policy").map(str::to_owned),
    };
    let packed = new.policy.as_deref().map(packed);
    let created = identity.create_session(caller, new).await;
    let created = created.map_err(refused)?;
    let who = match action.as_str() {
        "AssumeRole" => user("AssumedRoleUser", "AssumedRoleId", &account, &named),
        "GetFederationToken" => user("FederatedUser", "FederatedUserId", &account, &named),
        _ => String::new(),
    };
    let packed = packed.unwrap_or_default();
    Ok(document(
        &action,
        &[],
        &(credentials(&created) + &who + &packed),
    ))
}

fn refused(error: IdentityError) -> S3Error {
    match error {
        IdentityError::Invalid(text) => bad_request("ValidationError", text),
        IdentityError::Forbidden(text) => say(S3ErrorCode::AccessDenied, text),
        other => {
            tracing::error!(error = %other, "no temporary key could be made: {other}");
            say(
                S3ErrorCode::ServiceUnavailable,
                "the appliance cannot make keys now; try again",
            )
        }
    }
}

/// How much of its room a policy takes.
fn packed(policy: &str) -> String {
    let percent = (policy.len() * 100).div_ceil(SESSION_POLICY_BYTES_MAX);
    format!("<PackedPolicySize>{percent}</PackedPolicySize>")
}

fn role_arn(account: &str, name: &str) -> String {
    format!("arn:aws:sts::{ACCOUNT}:assumed-role/{account}/{name}")
}

fn user(element: &str, id: &str, account: &str, name: &str) -> String {
    let arn = escaped(&role_arn(account, name));
    let own = escaped(&format!("{account}:{name}"));
    format!("<{element}><Arn>{arn}</Arn><{id}>{own}</{id}></{element}>")
}

fn credentials(created: &CreatedSession) -> String {
    let mut out = String::from("<Credentials>");
    for (element, value) in [
        ("AccessKeyId", created.id.as_str()),
        ("SecretAccessKey", created.secret.reveal()),
        ("SessionToken", created.token.reveal()),
        ("Expiration", &instant(created.expires_ms)),
    ] {
        write!(out, "<{element}>{}</{element}>", escaped(value))
            .expect("a String takes every write");
    }
    out + "</Credentials>"
}

fn document(action: &str, pairs: &[(&str, &str)], inner: &str) -> String {
    let mut told = String::new();
    for (element, value) in pairs {
        write!(told, "<{element}>{}</{element}>", escaped(value))
            .expect("a String takes every write");
    }
    let id = Id::random();
    format!(
        "<{action}Response xmlns=\"{NAMESPACE}\"><{action}Result>{told}{inner}</{action}Result>\
         <ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></{action}Response>"
    )
}

/// A point in time, to the second before it.
fn instant(ms: Millis) -> String {
    let time = OffsetDateTime::from_unix_timestamp(ms.div_euclid(1000));
    let time = time.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_default()
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c if c.is_control() => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_error_is_wrapped_as_clients_of_the_service_read_it() {
        let document = "<?xml version=\"1.0\"?><Error><Code>InvalidAccessKeyId</Code><Message>m</Message></Error>";
        let wrapped = super::wrapped(document).unwrap();
        assert!(wrapped.starts_with("<ErrorResponse"), "{wrapped}");
        assert!(wrapped.contains("<Error><Type>Sender</Type><Code>InvalidClientTokenId</Code>"));
        assert_eq!(super::wrapped("<Other/>"), None);
    }

    #[test]
    fn only_a_form_at_the_root_is_for_this_service() {
        let asks = |method: &str, path: &str, kind: &str, host: &str| {
            let request = http::Request::builder()
                .method(method)
                .uri(path)
                .header("content-type", kind)
                .header("host", host)
                .body(())
                .unwrap();
            is_asked(&request, Some("s3.home"))
        };
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        assert!(asks("POST", "/", form, "s3.home"));
        assert!(!asks("POST", "/", form, "films.s3.home"));
        assert!(!asks("POST", "/films", form, "s3.home"));
        assert!(!asks("PUT", "/", form, "s3.home"));
        assert!(!asks("POST", "/", "application/xml", "s3.home"));
    }
}

//! `[[webhook]]`: who is told what happens to objects.

use serde::{Deserialize, Serialize};

use super::environment::Environment;
use super::error::Fault;
use super::secret::{self, Secret};

/// Receivers of one appliance.
const WEBHOOKS_MAX: usize = 32;
/// Shortest secret; a shorter one can be guessed from a few signatures.
const SECRET_BYTES_MIN: usize = 16;

/// One receiver of notifications; buckets name it as `arn:nebula:webhook:::NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// What buckets call it.
    pub name: String,
    /// Where it takes POST requests.
    pub url: String,
    /// A reference to the secret that signs them.
    pub secret: String,
}

/// A receiver with its secret at hand.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// What buckets call it.
    pub name: String,
    /// Where it takes POST requests.
    pub url: String,
    /// What signs them.
    pub secret: Secret,
}

/// Checks every entry; a fault names its place in the file, counted from 1.
pub(super) fn check(all: &[WebhookConfig]) -> Result<(), Fault> {
    if all.len() > WEBHOOKS_MAX {
        return Err(Fault::new(
            "webhook",
            format!("{} webhooks are too many", all.len()),
            format!("keep at most {WEBHOOKS_MAX}"),
        ));
    }
    for (at, webhook) in all.iter().enumerate() {
        let key = |name: &str| format!("webhook.{}.{name}", at + 1);
        webhook.check(&key)?;
        if all[..at].iter().any(|other| other.name == webhook.name) {
            return Err(Fault::new(
                &key("name"),
                format!("two webhooks are named `{}`", webhook.name),
                "give each its own name: buckets refer to it",
            ));
        }
    }
    Ok(())
}

/// Follows the references to the secrets.
pub(super) fn resolve(
    all: &[WebhookConfig],
    environment: &Environment,
) -> Result<Vec<Webhook>, Fault> {
    let one = |(at, webhook): (usize, &WebhookConfig)| {
        let key = format!("webhook.{}.secret", at + 1);
        let secret = secret::resolve(&key, &webhook.secret, environment)?;
        if secret.expose().len() < SECRET_BYTES_MIN {
            return Err(Fault::new(
                &key,
                "the secret is too short",
                format!("choose at least {SECRET_BYTES_MIN} random characters"),
            ));
        }
        Ok(Webhook {
            name: webhook.name.clone(),
            url: webhook.url.clone(),
            secret,
        })
    };
    all.iter().enumerate().map(one).collect()
}

impl WebhookConfig {
    fn check(&self, key: &dyn Fn(&str) -> String) -> Result<(), Fault> {
        let plain = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
        };
        if !(1..=64).contains(&self.name.len()) || !self.name.bytes().all(plain) {
            return Err(Fault::new(
                &key("name"),
                format!("`{}` cannot name a webhook", self.name),
                "use 1 to 64 lower-case letters, digits, hyphens and underscores",
            ));
        }
        let refuse = |reason: &str, cure: &str| Err(Fault::new(&key("url"), reason, cure));
        let parsed: Option<http::Uri> = self.url.parse().ok();
        let Some((scheme, authority)) = parsed
            .as_ref()
            .and_then(|uri| Some((uri.scheme_str()?, uri.authority()?.as_str())))
        else {
            return refuse(
                "it is not an absolute URL",
                "write it as http://127.0.0.1:9000/hook",
            );
        };
        if scheme == "https" {
            return refuse(
                "the daemon speaks no TLS",
                "name an http:// address: in the tailnet, or a proxy on this machine that speaks TLS onwards",
            );
        }
        if scheme != "http" {
            return refuse(
                "only http:// is spoken",
                "write it as http://127.0.0.1:9000/hook",
            );
        }
        if authority.contains('@') {
            return refuse(
                "a password does not belong in this file",
                "remove it: the receiver knows us by the signature",
            );
        }
        if !secret::is_reference(&self.secret) {
            return Err(Fault::new(
                &key("secret"),
                "a secret does not belong in this file",
                "refer to it: file:/path, env:NAME or credential:NAME",
            ));
        }
        Ok(())
    }
}

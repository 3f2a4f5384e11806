//! `[server]`: where to listen and how to be called.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::error::Fault;

/// Longest drain; a deploy waits for it.
const DRAIN_S_MAX: u64 = 3600;
/// More origins than these are not looked after by one person.
const TRUSTED_ORIGINS_MAX: usize = 64;

/// Where the daemon listens, and the names it answers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Address and port; sockets passed by systemd win over it.
    pub listen: SocketAddr,
    /// Base domain of virtual-host style S3 (`bucket.domain`); none serves path style only.
    pub domain: Option<String>,
    /// Base domain of static websites (`bucket.website_domain`); none serves them under `/-/web/` only.
    pub website_domain: Option<String>,
    /// The name of this node in status and metrics; none takes the host name.
    pub node: Option<String>,
    /// The URL under which people reach the appliance, for links; none derives it from the request.
    pub public_url: Option<String>,
    /// Origins of pages, besides our own, that may change things here and read with a visitor's rights.
    pub trusted_origins: Vec<String>,
    /// Seconds that running requests get on SIGTERM.
    pub drain_s: u64,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)),
            domain: None,
            website_domain: None,
            node: None,
            public_url: None,
            trusted_origins: Vec::new(),
            drain_s: 30,
        }
    }
}

impl ServerConfig {
    pub(super) fn check(&self) -> Result<(), Fault> {
        Fault::bounds("server.drain_s", self.drain_s, 0, DRAIN_S_MAX)?;
        check_domain("server.domain", self.domain.as_deref())?;
        check_domain("server.website_domain", self.website_domain.as_deref())?;
        if self.domain.is_some() && self.domain == self.website_domain {
            return Err(Fault::new(
                "server.website_domain",
                "it is the domain of virtual-host style S3 as well",
                "give websites a domain of their own, as in web.example.org",
            ));
        }
        if let Some(node) = &self.node
            && (node.is_empty() || node.len() > 64 || node.chars().any(char::is_control))
        {
            return Err(Fault::new(
                "server.node",
                "a node name has 1 to 64 printable characters",
                "shorten it, or remove the key to use the host name",
            ));
        }
        if let Some(url) = &self.public_url {
            check_origin("server.public_url", url)?;
        }
        if self.trusted_origins.len() > TRUSTED_ORIGINS_MAX {
            return Err(Fault::new(
                "server.trusted_origins",
                format!("more than {TRUSTED_ORIGINS_MAX} origins are trusted"),
                "name those whose pages you run yourself",
            ));
        }
        for origin in &self.trusted_origins {
            check_origin("server.trusted_origins", origin)?;
        }
        Ok(())
    }
}

fn check_origin(key: &'static str, url: &str) -> Result<(), Fault> {
    let parsed: Option<http::Uri> = url.parse().ok();
    let good = parsed.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some()
            && uri.path() == "/"
            && uri.query().is_none()
    });
    if good {
        return Ok(());
    }
    Err(Fault::new(
        key,
        format!("`{url}` is not the root of an http or https origin"),
        "write it as https://nebula.example.org, without a path",
    ))
}

fn check_domain(key: &str, domain: Option<&str>) -> Result<(), Fault> {
    let Some(domain) = domain else {
        return Ok(());
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let labels_ok = domain
        .split('.')
        .all(|label| (1..=63).contains(&label.len()) && label.bytes().all(plain));
    if labels_ok && domain.len() <= 253 {
        return Ok(());
    }
    Err(Fault::new(
        key,
        format!("`{domain}` is not a domain name"),
        "write letters, digits, hyphens and dots, as in s3.example.org, without scheme or port",
    ))
}

/// For addresses that come as text, from a flag or a variable.
pub(super) fn bad_listen(text: &str) -> Fault {
    Fault::new(
        "server.listen",
        format!("`{text}` is not an address with a port"),
        "write it as 127.0.0.1:8000, 0.0.0.0:8000 or [::]:8000",
    )
}

//! Reading tailscaled's answer to `whois`: the few fields that matter, all else ignored.

use std::collections::HashMap;

use serde::Deserialize;

use super::actor::{Actor, Caller};
use super::grant::{GRANTS_MAX, Grant};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WhoIs {
    node: Node,
    #[serde(default)]
    user_profile: Option<UserProfile>,
    #[serde(default)]
    cap_map: Option<HashMap<String, Option<Vec<serde_json::Value>>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    #[serde(default)]
    name: String,
    #[serde(default, rename = "StableID")]
    stable_id: String,
    #[serde(default)]
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UserProfile {
    #[serde(default)]
    login_name: String,
    #[serde(default)]
    display_name: String,
}

/// The caller that an answer tells of; an error when it tells of nobody.
///
/// A tagged node is a service: its user profile is a placeholder and does not count.
pub(super) fn read(answer: &[u8], capability: &str) -> Result<Caller, String> {
    let whois: WhoIs = serde_json::from_slice(answer).map_err(|e| e.to_string())?;
    let name = match whois.node.name.trim_end_matches('.') {
        "" => whois.node.stable_id,
        name => name.to_owned(),
    };
    let tags = whois.node.tags.unwrap_or_default();
    let actor = if tags.is_empty() {
        let user = whois
            .user_profile
            .filter(|user| !user.login_name.is_empty());
        let user = user.ok_or("the answer names neither a user nor a tag")?;
        Actor::TailnetUser {
            login: user.login_name,
            display: user.display_name,
            node: name,
        }
    } else if name.is_empty() {
        return Err("the answer names a node without a name".into());
    } else {
        Actor::TailnetNode { name, tags }
    };
    let values = whois
        .cap_map
        .and_then(|mut map| map.remove(capability).flatten())
        .unwrap_or_default();
    let read = |value| match serde_json::from_value::<Grant>(value) {
        Ok(grant) => Some(grant),
        Err(error) => {
            tracing::warn!(%actor, "a grant of {capability} in the tailnet policy is unreadable and counts as none: {error}");
            None
        }
    };
    let grants: Vec<Grant> = values
        .into_iter()
        .take(GRANTS_MAX)
        .filter_map(read)
        .collect();
    Ok(Caller::new(actor, grants))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::identity::Role;

    #[test]
    fn a_user_and_its_grants_are_read() {
        let answer = br#"{"Node":{"ID":7,"StableID":"nX","Name":"laptop.example.ts.net.","Other":1},
            "UserProfile":{"ID":1,"LoginName":"alice@example.org","DisplayName":"Alice"},
            "CapMap":{"nebula.dev/cap/access":[{"role":"write","buckets":["films"]},{"role":"king"}],"x":null}}"#;
        let caller = read(answer, "nebula.dev/cap/access").unwrap();
        assert_eq!(caller.actor().to_string(), "tailnet:alice@example.org");
        assert_eq!(caller.grants().len(), 1);
        assert_eq!(caller.highest_role(), Some(Role::Write));
        assert!(read(answer, "other").unwrap().grants().is_empty());
    }

    #[test]
    fn a_tagged_node_is_a_service() {
        let answer = br#"{"Node":{"Name":"nas.example.ts.net.","Tags":["tag:media"]},"UserProfile":{"LoginName":"tagged-devices"},"CapMap":null}"#;
        let caller = read(answer, "c").unwrap();
        assert_eq!(
            caller.actor().to_string(),
            "tailnet-node:nas.example.ts.net"
        );
    }

    #[test]
    fn an_answer_about_nobody_is_an_error() {
        for bad in [
            &b"{}"[..],
            b"",
            br#"{"Node":{}}"#,
            br#"{"Node":{"Name":"a."},"UserProfile":{"LoginName":""}}"#,
            br#"{"Node":{"Tags":["tag:x"]}}"#,
        ] {
            assert!(read(bad, "c").is_err());
        }
    }
}

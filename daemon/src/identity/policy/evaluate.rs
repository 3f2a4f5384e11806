//! From a policy and a request to a verdict.

use super::Facts;
use super::document::{Policy, Statement};
use super::key::ConditionKey;

/// What is asked of a policy.
pub struct Ask<'a> {
    /// The caller's id, `None` for nobody known.
    pub caller: Option<&'a str>,
    /// Where the request came from.
    pub source: Option<std::net::IpAddr>,
    /// The action, without `s3:`.
    pub action: &'a str,
    /// `bucket` or `bucket/key`.
    pub resource: &'a str,
    /// What the request says.
    pub facts: &'a dyn Facts,
}

/// What a policy says to one action.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict<'a> {
    /// The statement of this name denies it.
    Denied(&'a str),
    /// The statement of this name allows it, and none denies it.
    Allowed(&'a str),
    /// Nothing.
    Silent,
}

impl Policy {
    /// Decides; a statement that denies wins over all that allow.
    pub fn decide(&self, ask: &Ask<'_>) -> Verdict<'_> {
        let mut verdict = Verdict::Silent;
        for statement in &self.statements {
            // One that could not change the verdict any more is not compared.
            if statement.allows && verdict != Verdict::Silent {
                continue;
            }
            if !statement.is_about(ask) {
                continue;
            }
            if !statement.allows {
                return Verdict::Denied(&statement.name);
            }
            verdict = Verdict::Allowed(&statement.name);
        }
        verdict
    }
}

impl Statement {
    fn is_about(&self, ask: &Ask<'_>) -> bool {
        let values = |key: &ConditionKey| ask.values(key);
        let actions = || self.actions.iter().any(|one| one.matches(ask.action));
        let resources = || {
            let mut all = self.resources.iter();
            all.any(|one| one.is_any() || one.matches(ask.resource, false, &values))
        };
        self.principals.covers(ask.caller) != self.not_principals
            && actions() != self.not_actions
            && resources() != self.not_resources
            && self.conditions.iter().all(|one| {
                if ask.facts.is_settled(&one.key) {
                    self.allows
                } else if ask.facts.is_unknown(&one.key) {
                    !self.allows
                } else {
                    one.holds(&values)
                }
            })
    }
}

impl Ask<'_> {
    fn values(&self, key: &ConditionKey) -> Vec<String> {
        let text = |value: Option<String>| value.into_iter().collect();
        match key {
            ConditionKey::SourceIp => text(self.source.map(|address| address.to_string())),
            ConditionKey::Username | ConditionKey::UserId => text(self.caller.map(str::to_owned)),
            ConditionKey::PrincipalType => {
                let kind = if self.caller.is_some() {
                    "User"
                } else {
                    "Anonymous"
                };
                vec![kind.to_owned()]
            }
            _ => self.facts.values(key),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::super::{NoFacts, PolicyError};
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn parse(document: &serde_json::Value) -> Result<Policy, PolicyError> {
        Policy::parse(&document.to_string(), &"films".parse().unwrap())
    }

    fn policy(statements: serde_json::Value) -> Policy {
        parse(&json!({"Version": "2012-10-17", "Statement": statements})).unwrap()
    }

    fn ask<'a>(caller: Option<&'a str>, action: &'a str, resource: &'a str) -> Ask<'a> {
        Ask {
            caller,
            source: Some("10.1.2.3".parse().unwrap()),
            action,
            resource,
            facts: &NoFacts,
        }
    }

    #[test]
    fn a_denial_wins_wherever_it_stands() {
        let deny = json!({"Sid": "no", "Effect": "Deny", "Principal": {"AWS": "NEBTWO"}, "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::films/secret/*"});
        let allow = json!({"Sid": "yes", "Effect": "Allow", "Principal": "*", "Action": "s3:Get*",
            "Resource": ["arn:aws:s3:::films/*"]});
        for statements in [json!([deny, allow]), json!([allow, deny])] {
            let policy = policy(statements);
            let of = |caller, action, resource| policy.decide(&ask(caller, action, resource));
            assert_eq!(of(None, "GetObject", "films/a"), Verdict::Allowed("yes"));
            assert_eq!(of(None, "GetObject", "films"), Verdict::Silent);
            assert_eq!(of(None, "PutObject", "films/a"), Verdict::Silent);
            assert_eq!(
                of(Some("NEBTWO"), "GetObject", "films/secret/a"),
                Verdict::Denied("no")
            );
            assert_eq!(
                of(Some("NEBONE"), "GetObject", "films/secret/a"),
                Verdict::Allowed("yes")
            );
        }
    }

    #[test]
    fn negated_elements_mean_everything_else() {
        let policy = policy(
            json!({"Effect": "Deny", "NotPrincipal": {"AWS": ["NEBONE"]}, "NotAction": "s3:List*",
            "NotResource": "arn:aws:s3:::films/public/*"}),
        );
        let of = |caller, action, resource| policy.decide(&ask(caller, action, resource));
        assert_eq!(of(None, "GetObject", "films/a"), Verdict::Denied("1"));
        assert_eq!(of(Some("NEBONE"), "GetObject", "films/a"), Verdict::Silent);
        assert_eq!(of(None, "ListBucket", "films"), Verdict::Silent);
        assert_eq!(of(None, "GetObject", "films/public/a"), Verdict::Silent);
    }

    #[test]
    fn the_caller_is_known_to_conditions_and_variables() {
        let home = policy(json!({"Effect": "Allow", "Principal": "*", "Action": "*",
            "Resource": "arn:aws:s3:::films/home/${aws:username}/*",
            "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}));
        let of = |caller, resource| home.decide(&ask(caller, "PutObject", resource));
        assert_eq!(
            of(Some("NEBONE"), "films/home/NEBONE/a"),
            Verdict::Allowed("1")
        );
        assert_eq!(of(Some("NEBTWO"), "films/home/NEBONE/a"), Verdict::Silent);
        assert_eq!(of(None, "films/home//a"), Verdict::Silent);
        let mut elsewhere = ask(Some("NEBONE"), "PutObject", "films/home/NEBONE/a");
        elsewhere.source = None;
        assert_eq!(home.decide(&elsewhere), Verdict::Silent);
    }

    #[test]
    fn a_document_is_read_strictly() {
        let statement = |change: &dyn Fn(&mut serde_json::Map<String, serde_json::Value>)| {
            let mut one = json!({"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
                "Resource": "arn:aws:s3:::films/*"});
            change(one.as_object_mut().unwrap());
            parse(&json!({"Version": "2012-10-17", "Statement": [one]}))
        };
        assert!(statement(&|_| {}).is_ok());
        let refusals: [(&str, serde_json::Value, &str); 10] = [
            ("Effect", json!("Perhaps"), "Perhaps"),
            ("Action", json!("s3:Fly"), "s3:Fly"),
            ("Action", json!([]), "empty"),
            ("Resource", json!("arn:aws:s3:::other/*"), "other"),
            ("Resource", json!("films/*"), "films/*"),
            ("Colour", json!("red"), "Colour"),
            ("Condition", json!({"Fly": {"aws:username": "x"}}), "Fly"),
            (
                "Condition",
                json!({"Bool": {"aws:Weather": "true"}}),
                "aws:Weather",
            ),
            ("NotAction", json!("s3:Get*"), "both Action and NotAction"),
            (
                "NotPrincipal",
                json!("*"),
                "both Principal and NotPrincipal",
            ),
        ];
        for (name, value, word) in refusals {
            let refused = statement(&|one| {
                one.insert(name.into(), value.clone());
            });
            assert!(
                refused.unwrap_err().to_string().contains(word),
                "{name} {value}"
            );
        }
        for name in ["Effect", "Principal", "Action", "Resource"] {
            assert!(statement(&|one| drop(one.remove(name))).is_err(), "{name}");
        }
        let not_principal = statement(&|one| {
            let principal = one.remove("Principal").unwrap();
            one.insert("NotPrincipal".into(), principal);
        });
        assert!(
            not_principal
                .unwrap_err()
                .to_string()
                .contains("NotPrincipal")
        );
        assert!(
            statement(&|one| drop(one.insert("Resource".into(), json!("arn:aws:s3:::*")))).is_ok()
        );
        assert!(parse(&json!({"Version": "2020-01-01", "Statement": []})).is_err());
        assert!(parse(&json!({"Statement": []})).is_err());
        assert!(parse(&json!([])).is_err());
        let twice = r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*",
            "Condition": {"Bool": {"aws:SecureTransport": false}, "Bool": {"aws:SecureTransport": true}}}}"#;
        let refused = Policy::parse(twice, &"films".parse().unwrap()).unwrap_err();
        assert!(refused.to_string().contains("given twice"), "{refused}");
        let long = "x".repeat(super::super::POLICY_BYTES_MAX + 1);
        assert!(Policy::parse(&long, &"films".parse().unwrap()).is_err());
    }

    #[test]
    fn a_policy_is_public_when_it_names_nobody() {
        let one = |principal: serde_json::Value, condition: serde_json::Value| {
            policy(
                json!({"Effect": "Allow", "Principal": principal, "Action": "s3:ListBucket",
                "Resource": "arn:aws:s3:::films", "Condition": condition}),
            )
            .is_public()
        };
        assert!(one(json!("*"), json!({})));
        assert!(one(json!({"AWS": ["NEBONE", "*"]}), json!({})));
        assert!(!one(json!({"AWS": "NEBONE"}), json!({})));
        assert!(!one(
            json!("*"),
            json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/32"}})
        ));
        assert!(one(
            json!("*"),
            json!({"StringLike": {"aws:Referer": "https://a/*"}})
        ));
    }

    proptest! {
        #[test]
        fn no_document_panics(text in ".{0,200}") {
            let _ = Policy::parse(&text, &"films".parse().unwrap());
        }

        #[test]
        fn no_statement_panics(effect in "(Allow|Deny|x)", action in "[a-zA-Z3:*?]{0,12}", resource in ".{0,30}",
            operator in "(For(Any|All)Values?:)?[A-Za-z]{0,20}", key in ".{0,20}", value in ".{0,20}") {
            let document = json!({"Version": "2012-10-17", "Statement": {"Effect": effect, "Principal": "*",
                "Action": action, "Resource": format!("arn:aws:s3:::{resource}"), "Condition": {operator: {key: [value]}}}});
            if let Ok(policy) = parse(&document) {
                let _ = policy.decide(&ask(None, "GetObject", "films/a"));
            }
        }
    }
}

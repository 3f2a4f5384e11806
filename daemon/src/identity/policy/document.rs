//! The document itself: strictly read, so that a policy which is stored is a policy that is understood.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::action::ActionPattern;
use super::condition::Condition;
use super::key::ConditionKey;
use super::pattern::Pattern;
use super::principal::Principals;
use super::{PolicyError, shown};
use crate::kernel::BucketName;

/// Largest document (Amazon S3, bucket policies).
pub const POLICY_BYTES_MAX: usize = 20 * 1024;
/// Largest document that bounds a temporary key (AWS STS, `AssumeRole`).
pub const SESSION_POLICY_BYTES_MAX: usize = 2048;
/// Longest `Sid` that rules and logs show.
const SID_CHARS_MAX: usize = 128;

/// A bucket policy, checked.
#[derive(Clone, PartialEq, Debug)]
pub struct Policy {
    pub(super) statements: Vec<Statement>,
}

/// One statement.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Statement {
    /// Its name, or its number from 1.
    pub(super) name: String,
    pub(super) allows: bool,
    pub(super) principals: Principals,
    pub(super) not_principals: bool,
    pub(super) actions: Vec<ActionPattern>,
    pub(super) not_actions: bool,
    pub(super) resources: Vec<Pattern>,
    pub(super) not_resources: bool,
    pub(super) conditions: Vec<Condition>,
}

impl Policy {
    /// Reads a document for a bucket.
    ///
    /// # Errors
    /// [`PolicyError`], naming what is wrong.
    pub fn parse(text: &str, bucket: &BucketName) -> Result<Self, PolicyError> {
        Self::read(text, Some(bucket), POLICY_BYTES_MAX)
    }

    /// Reads a document that bounds a temporary key: of any bucket, and about nobody but the key.
    ///
    /// # Errors
    /// [`PolicyError`], naming what is wrong.
    pub fn parse_session(text: &str) -> Result<Self, PolicyError> {
        Self::read(text, None, SESSION_POLICY_BYTES_MAX)
    }

    fn read(text: &str, bucket: Option<&BucketName>, max: usize) -> Result<Self, PolicyError> {
        if text.len() > max {
            return Err(PolicyError::new(format!(
                "the policy has {} bytes; {max} are allowed",
                text.len()
            )));
        }
        let raw: Document = serde_json::from_str(text)
            .map_err(|error| PolicyError::new(format!("the policy cannot be read: {error}")))?;
        // Variables came with this version; before it `${` is text.
        let variables = match raw.version.as_deref() {
            Some("2012-10-17") => true,
            None | Some("2008-10-17") => false,
            Some(other) => {
                return Err(PolicyError::new(format!(
                    "unknown policy version `{}`: it is 2012-10-17",
                    shown(other)
                )));
            }
        };
        if raw.statement.0.is_empty() {
            return Err(PolicyError::new("the policy has no statement"));
        }
        let statements = raw.statement.0.into_iter().enumerate();
        let statements = statements
            .map(|(at, raw)| statement(at + 1, raw, bucket, variables))
            .collect::<Result<_, _>>()?;
        Ok(Self { statements })
    }

    /// Whether it lets people in who are not named.
    pub fn is_public(&self) -> bool {
        self.statements.iter().any(Statement::is_public)
    }

    /// Whether a decision may need the tags of the object that is there.
    pub fn asks_for_existing_tags(&self) -> bool {
        self.asks_for(|key| matches!(key, ConditionKey::ExistingTag(_)))
    }

    /// Whether a decision may need the tags that a request brings.
    pub fn asks_for_request_tags(&self) -> bool {
        self.asks_for(|key| {
            matches!(
                key,
                ConditionKey::RequestTag(_) | ConditionKey::RequestTagKeys
            )
        })
    }

    fn asks_for(&self, wanted: impl Fn(&ConditionKey) -> bool) -> bool {
        let mut conditions = self.statements.iter().flat_map(|one| &one.conditions);
        conditions.any(|one| wanted(&one.key))
    }
}

impl Statement {
    pub(super) fn is_public(&self) -> bool {
        self.allows && self.principals.everyone && !self.conditions.iter().any(Condition::narrows)
    }
}

fn statement(
    number: usize,
    raw: RawStatement,
    bucket: Option<&BucketName>,
    variables: bool,
) -> Result<Statement, PolicyError> {
    let name = match raw.sid {
        Some(sid) if sid.chars().count() > SID_CHARS_MAX => {
            return Err(PolicyError::new(format!(
                "the Sid of statement {number} is longer than {SID_CHARS_MAX} characters"
            )));
        }
        Some(sid) if !sid.is_empty() => sid,
        _ => number.to_string(),
    };
    let allows = match raw.effect.as_str() {
        "Allow" => true,
        "Deny" => false,
        other => {
            return Err(PolicyError::new(format!(
                "the effect `{}` is neither Allow nor Deny",
                shown(other)
            )));
        }
    };
    let (principals, not_principals) = match (raw.principal, raw.not_principal) {
        (None, None) if bucket.is_none() => (RawPrincipal::Text("*".to_owned()), false),
        _ if bucket.is_none() => {
            return Err(PolicyError::new(format!(
                "statement {number} has a Principal: the policy of a temporary key is about that key alone"
            )));
        }
        (plain, negated) => one_of(plain, negated, number, "Principal")?,
    };
    if allows && not_principals {
        return Err(PolicyError::new(format!(
            "statement {number} allows with NotPrincipal, which would let in everybody else: use Principal"
        )));
    }
    let principals = match principals {
        RawPrincipal::Text(text) => Principals::of_text(&text)?,
        RawPrincipal::Pairs(pairs) => Principals::of_pairs(&pairs)?,
    };
    let (actions, not_actions) = one_of(raw.action, raw.not_action, number, "Action")?;
    let (resources, not_resources) = one_of(raw.resource, raw.not_resource, number, "Resource")?;
    if actions.0.is_empty() || resources.0.is_empty() {
        return Err(PolicyError::new(format!(
            "statement {number} has an empty list"
        )));
    }
    let mut conditions = Vec::new();
    for (operator, lines) in raw.condition.unwrap_or_default().0 {
        for (key, values) in lines.0 {
            let values: Vec<String> = values.0.into_iter().map(|scalar| scalar.0).collect();
            conditions.push(Condition::parse(&operator, &key, &values, variables)?);
        }
    }
    Ok(Statement {
        name,
        allows,
        principals,
        not_principals,
        actions: actions
            .0
            .iter()
            .map(|text| ActionPattern::parse(text))
            .collect::<Result<_, _>>()?,
        not_actions,
        resources: resources
            .0
            .iter()
            .map(|text| resource(text, bucket, variables))
            .collect::<Result<_, _>>()?,
        not_resources,
        conditions,
    })
}

/// Exactly one of an element and its negation.
fn one_of<T>(
    plain: Option<T>,
    negated: Option<T>,
    number: usize,
    what: &str,
) -> Result<(T, bool), PolicyError> {
    match (plain, negated) {
        (Some(value), None) => Ok((value, false)),
        (None, Some(value)) => Ok((value, true)),
        (None, None) => Err(PolicyError::new(format!(
            "statement {number} has no {what}"
        ))),
        (Some(_), Some(_)) => Err(PolicyError::new(format!(
            "statement {number} has both {what} and Not{what}"
        ))),
    }
}

/// `arn:aws:s3:::bucket` or `arn:aws:s3:::bucket/key`, whose first part must mean this bucket.
fn resource(
    text: &str,
    bucket: Option<&BucketName>,
    variables: bool,
) -> Result<Pattern, PolicyError> {
    let invalid = || {
        let bucket = bucket.map_or("BUCKET", BucketName::as_str);
        PolicyError::new(format!(
            "the resource `{}` is not of this bucket: write arn:aws:s3:::{bucket} or arn:aws:s3:::{bucket}/KEY",
            shown(text)
        ))
    };
    if text == "*" {
        return Pattern::parse("*", true, false);
    }
    let path = text.strip_prefix("arn:aws:s3:::").ok_or_else(invalid)?;
    let first = path.split('/').next().unwrap_or_default();
    let names = Pattern::parse(first, true, false)?;
    if bucket.is_some_and(|bucket| !names.matches(bucket.as_str(), false, &|_| Vec::new())) {
        return Err(invalid());
    }
    Pattern::parse(path, true, variables)
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "Version")]
    version: Option<String>,
    /// Free text, for its author.
    #[serde(rename = "Id")]
    _id: Option<String>,
    #[serde(rename = "Statement")]
    statement: Many<RawStatement>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStatement {
    #[serde(rename = "Sid")]
    sid: Option<String>,
    #[serde(rename = "Effect")]
    effect: String,
    #[serde(rename = "Principal")]
    principal: Option<RawPrincipal>,
    #[serde(rename = "NotPrincipal")]
    not_principal: Option<RawPrincipal>,
    #[serde(rename = "Action")]
    action: Option<Many<String>>,
    #[serde(rename = "NotAction")]
    not_action: Option<Many<String>>,
    #[serde(rename = "Resource")]
    resource: Option<Many<String>>,
    #[serde(rename = "NotResource")]
    not_resource: Option<Many<String>>,
    #[serde(rename = "Condition")]
    condition: Option<Pairs<Pairs<Many<Scalar>>>>,
}

enum RawPrincipal {
    Text(String),
    Pairs(Pairs<Vec<String>>),
}

impl<'de> Deserialize<'de> for RawPrincipal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = RawPrincipal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a principal: \"*\" or {\"AWS\": …}")
            }

            fn visit_str<E>(self, text: &str) -> Result<RawPrincipal, E> {
                Ok(RawPrincipal::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawPrincipal, A::Error> {
                let pairs: Pairs<Many<String>> =
                    Pairs::deserialize(MapAccessDeserializer::new(map))?;
                let pairs = pairs.0.into_iter().map(|(kind, names)| (kind, names.0));
                Ok(RawPrincipal::Pairs(Pairs(pairs.collect())))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// A list, or a single element without its brackets.
struct Many<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
            type Value = Many<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one or a list of them")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Many<T>, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = list.next_element()? {
                    all.push(one);
                }
                Ok(Many(all))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Many<T>, A::Error> {
                Ok(Many(vec![T::deserialize(MapAccessDeserializer::new(map))?]))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Many<T>, E> {
                Ok(Many(vec![T::deserialize(StrDeserializer::new(text))?]))
            }

            fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Many<T>, E> {
                self.visit_str(if value { "true" } else { "false" })
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Many<T>, E> {
                self.visit_str(&value.to_string())
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Many<T>, E> {
                self.visit_str(&value.to_string())
            }

            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Many<T>, E> {
                self.visit_str(&value.to_string())
            }
        }
        deserializer.deserialize_any(Reader(PhantomData))
    }
}

/// A value of a condition, kept as text whatever it was written as.
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number, true or false")
            }

            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(text.to_owned()))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// The members of an object in their order; a name that comes twice is an error, as one of the two would be lost.
pub(super) struct Pairs<V>(pub(super) Vec<(String, V)>);

impl<V> Default for Pairs<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Pairs<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Reader<V> {
            type Value = Pairs<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<V>, A::Error> {
                let mut pairs: Vec<(String, V)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, V>()? {
                    if pairs.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom(format!(
                            "`{}` is given twice",
                            shown(&name)
                        )));
                    }
                    pairs.push((name, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Reader(PhantomData))
    }
}

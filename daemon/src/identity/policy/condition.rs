//! Operators of conditions, and what they compare with.

use std::net::IpAddr;

use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime};

use super::key::ConditionKey;
use super::pattern::Pattern;
use super::{PolicyError, shown};

/// One line of a condition: an operator, a key, and the values to compare with.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Condition {
    pub(super) key: ConditionKey,
    quantifier: Quantifier,
    if_exists: bool,
    negated: bool,
    test: Test,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Quantifier {
    /// No prefix.
    Plain,
    /// `ForAnyValue:`.
    Any,
    /// `ForAllValues:`.
    All,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    Equal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

impl Order {
    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Equal => left.total_cmp(&right).is_eq(),
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::Greater => left > right,
            Self::AtLeast => left >= right,
        }
    }
}

#[derive(Clone, PartialEq, Debug)]
enum Test {
    Text {
        fold: bool,
        values: Vec<Pattern>,
    },
    Number(Order, Vec<f64>),
    /// Seconds since 1970.
    Date(Order, Vec<f64>),
    Bool(Vec<bool>),
    Network(Vec<Network>),
    /// Whether the key must be absent.
    Null(Vec<bool>),
}

/// An address or a range of them; version 4 lies mapped in version 6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Network {
    bits: u128,
    prefix: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let (bits, width) = match address {
            IpAddr::V4(v4) => (u128::from(v4.to_ipv6_mapped()), 32),
            IpAddr::V6(v6) => (u128::from(v6), 128),
        };
        let prefix = match prefix {
            None => width,
            Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => {
                text.parse().ok().filter(|n| *n <= width)?
            }
            Some(_) => return None,
        };
        Some(Self {
            bits,
            prefix: prefix + 128 - width,
        })
    }

    fn contains(self, address: IpAddr) -> bool {
        let bits = match address.to_canonical() {
            IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
            IpAddr::V6(v6) => u128::from(v6),
        };
        self.prefix == 0 || (self.bits ^ bits) >> (128 - self.prefix) == 0
    }

    /// Whether it is so wide that it names nobody in particular (Amazon S3, the meaning of "public").
    fn is_wide(self) -> bool {
        let is_v4 = self.prefix >= 96 && self.bits >> 32 == 0xffff;
        self.prefix < if is_v4 { 96 + 8 } else { 32 }
    }
}

/// Seconds since 1970 of `2026-01-31T12:00:00Z`, `2026-01-31` or a plain number.
fn seconds(text: &str) -> Option<f64> {
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(time.unix_timestamp_nanos() as f64 / 1e9);
    }
    let day = time::macros::format_description!("[year]-[month]-[day]");
    if let Ok(date) = Date::parse(text, &day) {
        return Some(date.midnight().assume_utc().unix_timestamp() as f64);
    }
    number(text)
}

fn number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|n| n.is_finite())
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

impl Condition {
    /// Reads one line; `variables` says whether `${…}` means anything in this document.
    pub(super) fn parse(
        operator: &str,
        key: &str,
        values: &[String],
        variables: bool,
    ) -> Result<Self, PolicyError> {
        let unknown =
            || PolicyError::new(format!("unknown condition operator `{}`", shown(operator)));
        let (quantifier, rest) = match operator.split_once(':') {
            None => (Quantifier::Plain, operator),
            Some(("ForAnyValue", rest)) => (Quantifier::Any, rest),
            Some(("ForAllValues", rest)) => (Quantifier::All, rest),
            Some(_) => return Err(unknown()),
        };
        let (name, if_exists) = match rest.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (rest, false),
        };
        let parsed = ConditionKey::parse(key)
            .ok_or_else(|| PolicyError::new(format!("unknown condition key `{}`", shown(key))))?;
        if values.is_empty() {
            return Err(PolicyError::new(format!(
                "the condition on `{}` has no value",
                shown(key)
            )));
        }
        let (test, negated) = test(name, values, variables)?.ok_or_else(unknown)?;
        if matches!(test, Test::Null(_)) && (if_exists || quantifier != Quantifier::Plain) {
            return Err(unknown());
        }
        Ok(Self {
            key: parsed,
            quantifier,
            if_exists,
            negated,
            test,
        })
    }

    /// Whether the request fulfils it; `values` answers the key and variables.
    pub(super) fn holds(&self, values: &dyn Fn(&ConditionKey) -> Vec<String>) -> bool {
        let found = values(&self.key);
        if let Test::Null(wanted) = &self.test {
            return wanted.contains(&found.is_empty());
        }
        if found.is_empty() {
            return self.if_exists
                || match self.quantifier {
                    Quantifier::Plain => self.negated,
                    Quantifier::Any => false,
                    Quantifier::All => true,
                };
        }
        let fits = |value: &String| self.test.fits(value, values);
        match self.quantifier {
            Quantifier::Plain => found.iter().any(fits) != self.negated,
            Quantifier::Any => found.iter().any(|value| fits(value) != self.negated),
            Quantifier::All => found.iter().all(|value| fits(value) != self.negated),
        }
    }

    /// Whether it binds a statement to callers who are named by it, so that the statement is not public.
    pub(super) fn narrows(&self) -> bool {
        if self.negated || self.if_exists || self.quantifier == Quantifier::All {
            return false;
        }
        match (&self.key, &self.test) {
            (ConditionKey::SourceIp, Test::Network(all)) => !all.iter().any(|one| one.is_wide()),
            (ConditionKey::Username | ConditionKey::UserId, Test::Text { values, .. }) => {
                values.iter().all(Pattern::is_fixed)
            }
            _ => false,
        }
    }
}

/// What an operator's name without prefix and suffix compares, and whether it is turned around; `None` for an unknown name.
fn test(
    name: &str,
    values: &[String],
    variables: bool,
) -> Result<Option<(Test, bool)>, PolicyError> {
    let texts = |wild, fold| -> Result<Test, PolicyError> {
        let patterns = values.iter().map(|v| Pattern::parse(v, wild, variables));
        Ok(Test::Text {
            fold,
            values: patterns.collect::<Result<_, _>>()?,
        })
    };
    let numbers =
        |order| Ok::<_, PolicyError>(Test::Number(order, each(values, "a number", number)?));
    let dates = |order| Ok::<_, PolicyError>(Test::Date(order, each(values, "a date", seconds)?));
    let networks = || {
        let what = "an address or a network such as 10.0.0.0/8";
        Ok::<_, PolicyError>(Test::Network(each(values, what, Network::parse)?))
    };
    Ok(Some(match name {
        "StringEquals" => (texts(false, false)?, false),
        "StringNotEquals" => (texts(false, false)?, true),
        "StringEqualsIgnoreCase" => (texts(false, true)?, false),
        "StringNotEqualsIgnoreCase" => (texts(false, true)?, true),
        "StringLike" => (texts(true, false)?, false),
        "StringNotLike" => (texts(true, false)?, true),
        "NumericEquals" => (numbers(Order::Equal)?, false),
        "NumericNotEquals" => (numbers(Order::Equal)?, true),
        "NumericLessThan" => (numbers(Order::Less)?, false),
        "NumericLessThanEquals" => (numbers(Order::AtMost)?, false),
        "NumericGreaterThan" => (numbers(Order::Greater)?, false),
        "NumericGreaterThanEquals" => (numbers(Order::AtLeast)?, false),
        "DateEquals" => (dates(Order::Equal)?, false),
        "DateNotEquals" => (dates(Order::Equal)?, true),
        "DateLessThan" => (dates(Order::Less)?, false),
        "DateLessThanEquals" => (dates(Order::AtMost)?, false),
        "DateGreaterThan" => (dates(Order::Greater)?, false),
        "DateGreaterThanEquals" => (dates(Order::AtLeast)?, false),
        "Bool" => (Test::Bool(each(values, "true or false", boolean)?), false),
        "IpAddress" => (networks()?, false),
        "NotIpAddress" => (networks()?, true),
        "Null" => (Test::Null(each(values, "true or false", boolean)?), false),
        _ => return Ok(None),
    }))
}

fn each<T>(
    values: &[String],
    what: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, PolicyError> {
    let read = |value: &String| {
        read(value).ok_or_else(|| {
            PolicyError::new(format!(
                "the condition value `{}` is not {what}",
                shown(value)
            ))
        })
    };
    values.iter().map(read).collect()
}

impl Test {
    /// Whether one value fits one of those to compare with.
    fn fits(&self, value: &str, values: &dyn Fn(&ConditionKey) -> Vec<String>) -> bool {
        match self {
            Self::Text {
                fold,
                values: patterns,
            } => patterns
                .iter()
                .any(|pattern| pattern.matches(value, *fold, values)),
            Self::Number(order, all) => {
                number(value).is_some_and(|n| all.iter().any(|one| order.holds(n, *one)))
            }
            Self::Date(order, all) => {
                seconds(value).is_some_and(|n| all.iter().any(|one| order.holds(n, *one)))
            }
            Self::Bool(all) => boolean(value).is_some_and(|b| all.contains(&b)),
            Self::Network(all) => value
                .parse()
                .is_ok_and(|address: IpAddr| all.iter().any(|one| one.contains(address))),
            Self::Null(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn holds(operator: &str, key: &str, wanted: &[&str], found: &[&str]) -> bool {
        let wanted: Vec<String> = wanted.iter().map(|v| (*v).to_owned()).collect();
        let condition = Condition::parse(operator, key, &wanted, true).unwrap();
        condition.holds(&|_| found.iter().map(|v| (*v).to_owned()).collect())
    }

    #[test]
    fn every_operator_compares_as_its_name_says() {
        let name = "aws:username";
        for (operator, wanted, found, expected) in [
            ("StringEquals", "a", "a", true),
            ("StringEquals", "a", "A", false),
            ("StringEquals", "a*", "ab", false),
            ("StringEqualsIgnoreCase", "a", "A", true),
            ("StringNotEquals", "a", "b", true),
            ("StringNotEqualsIgnoreCase", "a", "A", false),
            ("StringLike", "a*", "ab", true),
            ("StringNotLike", "a*", "ab", false),
            ("NumericEquals", "10", "10.0", true),
            ("NumericNotEquals", "10", "11", true),
            ("NumericLessThan", "10", "10", false),
            ("NumericLessThanEquals", "10", "10", true),
            ("NumericGreaterThan", "10", "11", true),
            ("NumericGreaterThanEquals", "10", "9", false),
            ("NumericLessThan", "10", "many", false),
            ("DateLessThan", "2026-01-02", "2026-01-01T23:59:59Z", true),
            (
                "DateGreaterThan",
                "2026-01-02T00:00:00Z",
                "1767398400",
                true,
            ),
            ("DateEquals", "2026-01-02", "2026-01-02T00:00:00Z", true),
            ("Bool", "true", "TRUE", true),
            ("Bool", "false", "true", false),
            ("IpAddress", "10.0.0.0/8", "10.1.2.3", true),
            ("IpAddress", "10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("IpAddress", "10.0.0.0/8", "11.1.2.3", false),
            ("IpAddress", "2001:db8::/32", "2001:db8::1", true),
            ("IpAddress", "0.0.0.0/0", "9.9.9.9", true),
            ("IpAddress", "0.0.0.0/0", "2001:db8::1", false),
            ("NotIpAddress", "10.0.0.0/8", "10.1.2.3", false),
        ] {
            assert_eq!(
                holds(operator, name, &[wanted], &[found]),
                expected,
                "{operator} {wanted} {found}"
            );
        }
    }

    #[test]
    fn a_key_that_is_absent_fails_what_is_asked_and_passes_what_is_forbidden() {
        let absent = |operator, wanted: &str| holds(operator, "s3:prefix", &[wanted], &[]);
        assert!(!absent("StringEquals", "a"));
        assert!(absent("StringNotEquals", "a"));
        assert!(absent("StringEqualsIfExists", "a"));
        assert!(!absent("NumericLessThan", "1"));
        assert!(absent("Null", "true") && !absent("Null", "false"));
        assert!(!holds("Null", "s3:prefix", &["true"], &["x"]));
        assert!(!absent("ForAnyValue:StringEquals", "a"));
        assert!(absent("ForAllValues:StringEquals", "a"));
    }

    #[test]
    fn several_values_are_taken_one_by_one() {
        let tags = "s3:RequestObjectTagKeys";
        let any = |found: &[&str]| holds("ForAnyValue:StringEquals", tags, &["a", "b"], found);
        let all = |found: &[&str]| holds("ForAllValues:StringEquals", tags, &["a", "b"], found);
        assert!(any(&["x", "a"]) && !any(&["x"]));
        assert!(all(&["a", "b"]) && !all(&["a", "x"]));
        assert!(!holds("StringNotEquals", tags, &["a"], &["x", "a"]));
        assert!(holds(
            "ForAnyValue:StringNotEquals",
            tags,
            &["a"],
            &["x", "a"]
        ));
    }

    #[test]
    fn what_cannot_be_decided_is_refused_by_name() {
        let refusal = |operator: &str, key: &str, value: &str| {
            Condition::parse(operator, key, &[value.to_owned()], true)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refusal("ArnLike", "aws:username", "x"),
            "unknown condition operator `ArnLike`"
        );
        assert!(refusal("ForSome:StringLike", "aws:username", "x").contains("ForSome"));
        assert!(refusal("NullIfExists", "aws:username", "true").contains("NullIfExists"));
        assert_eq!(
            refusal("StringLike", "aws:SourceVpc", "x"),
            "unknown condition key `aws:SourceVpc`"
        );
        for (operator, value) in [
            ("NumericEquals", "ten"),
            ("NumericEquals", "NaN"),
            ("DateEquals", "yesterday"),
            ("Bool", "yes"),
            ("IpAddress", "10.0.0.0/33"),
            ("IpAddress", "10.0.0/8"),
            ("IpAddress", "10.0.0.0/+8"),
        ] {
            assert!(
                refusal(operator, "aws:username", value).contains(value),
                "{operator}"
            );
        }
        assert!(Condition::parse("Bool", "aws:username", &[], true).is_err());
    }

    #[test]
    fn only_named_callers_and_real_networks_narrow() {
        let narrows = |operator: &str, key: &str, value: &str| {
            Condition::parse(operator, key, &[value.to_owned()], true)
                .unwrap()
                .narrows()
        };
        assert!(narrows("IpAddress", "aws:SourceIp", "10.0.0.0/32"));
        assert!(narrows("IpAddress", "aws:SourceIp", "10.0.0.0/8"));
        assert!(!narrows("IpAddress", "aws:SourceIp", "0.0.0.0/1"));
        assert!(!narrows("IpAddress", "aws:SourceIp", "::/0"));
        assert!(!narrows("NotIpAddress", "aws:SourceIp", "10.0.0.0/8"));
        assert!(!narrows("IpAddressIfExists", "aws:SourceIp", "10.0.0.0/8"));
        assert!(narrows("StringEquals", "aws:username", "NEB1"));
        assert!(!narrows("StringLike", "aws:username", "*"));
        assert!(!narrows("StringEquals", "aws:Referer", "https://a/"));
    }
}

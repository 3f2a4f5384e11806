//! Texts with `*`, `?` and variables, as resources and conditions are written.

use super::key::ConditionKey;
use super::{PolicyError, shown};

/// A piece of a text at the moment it is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Token {
    Char(char),
    /// `*`: any run of characters.
    Run,
    /// `?`: any one character.
    One,
}

/// What of a text is more than its characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Meaning {
    /// `*` and `?` are wildcards.
    wild: bool,
    /// `${key}` is what the request says, taken literally.
    variables: bool,
}

/// A text to compare with, kept as it was written: a policy may be large, and many are remembered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pattern {
    text: Box<str>,
    meaning: Meaning,
}

impl Pattern {
    /// Reads a text; `wild` gives `*` and `?` their meaning, `variables` gives it to `${…}`.
    pub(super) fn parse(text: &str, wild: bool, variables: bool) -> Result<Self, PolicyError> {
        let pattern = Self {
            text: text.into(),
            meaning: Meaning {
                wild: wild && text.contains(['*', '?']),
                variables: variables && text.contains("${"),
            },
        };
        pattern.tokens(&mut |name| {
            if ConditionKey::parse(name).is_some() {
                return Ok(String::new());
            }
            Err(PolicyError::new(format!(
                "unknown variable `{}`",
                shown(name)
            )))
        })?;
        Ok(pattern)
    }

    /// Whether this is `*`.
    pub(super) fn is_any(&self) -> bool {
        self.meaning.wild && &*self.text == "*"
    }

    /// Whether it has one meaning only: no wildcard, no variable.
    pub(super) fn is_fixed(&self) -> bool {
        !self.meaning.wild && !self.meaning.variables
    }

    /// Compares the whole text; `values` answers variables, and one without an answer matches nothing.
    pub(super) fn matches(
        &self,
        text: &str,
        fold: bool,
        values: &dyn Fn(&ConditionKey) -> Vec<String>,
    ) -> bool {
        if self.is_fixed() {
            return *self.text == *text || (fold && self.text.eq_ignore_ascii_case(text));
        }
        let tokens = self.tokens(&mut |name| {
            let found = ConditionKey::parse(name).and_then(|key| values(&key).into_iter().next());
            found.ok_or_else(|| PolicyError::new("no value"))
        });
        tokens.is_ok_and(|tokens| glob(&tokens, text, fold))
    }

    /// Takes the text apart; `value` answers a variable.
    fn tokens(
        &self,
        value: &mut dyn FnMut(&str) -> Result<String, PolicyError>,
    ) -> Result<Vec<Token>, PolicyError> {
        let mut tokens = Vec::with_capacity(self.text.len());
        let mut rest = &*self.text;
        while let Some(c) = rest.chars().next() {
            if self.meaning.variables
                && let Some(inner) = rest.strip_prefix("${")
            {
                let (name, behind) = inner.split_once('}').ok_or_else(|| {
                    PolicyError::new(format!(
                        "the variable in `{}` has no end",
                        shown(&self.text)
                    ))
                })?;
                match name {
                    "*" | "?" | "$" => tokens.extend(name.chars().map(Token::Char)),
                    _ => tokens.extend(value(name)?.chars().map(Token::Char)),
                }
                rest = behind;
                continue;
            }
            rest = &rest[c.len_utf8()..];
            match c {
                // Several in a row match what one does, at less cost.
                '*' if self.meaning.wild && tokens.last() == Some(&Token::Run) => {}
                '*' if self.meaning.wild => tokens.push(Token::Run),
                '?' if self.meaning.wild => tokens.push(Token::One),
                other => tokens.push(Token::Char(other)),
            }
        }
        Ok(tokens)
    }
}

/// Returning to the last run alone keeps the work at pattern × text.
fn glob(tokens: &[Token], text: &str, fold: bool) -> bool {
    let (mut at, mut rest) = (0, text);
    let mut run: Option<(usize, &str)> = None;
    loop {
        let mut chars = rest.chars();
        match (tokens.get(at), chars.next()) {
            (None, None) => return true,
            (Some(Token::Run), _) => {
                at += 1;
                run = Some((at, rest));
                continue;
            }
            (Some(Token::One), Some(_)) => {
                at += 1;
                rest = chars.as_str();
                continue;
            }
            (Some(Token::Char(wanted)), Some(found))
                if *wanted == found || (fold && wanted.eq_ignore_ascii_case(&found)) =>
            {
                at += 1;
                rest = chars.as_str();
                continue;
            }
            _ => {}
        }
        let Some((behind, taken)) = run else {
            return false;
        };
        let mut chars = taken.chars();
        if chars.next().is_none() {
            return false;
        }
        run = Some((behind, chars.as_str()));
        at = behind;
        rest = chars.as_str();
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn fits(pattern: &str, text: &str) -> bool {
        Pattern::parse(pattern, true, true)
            .unwrap()
            .matches(text, false, &|_| vec!["al*ce".into()])
    }

    #[test]
    fn wildcards_match_as_in_s3() {
        for (pattern, text, expected) in [
            ("films/*", "films/a/b", true),
            ("films/*", "films/", true),
            ("films/*", "films", false),
            ("*", "", true),
            ("a?c", "abc", true),
            ("a?c", "aéc", true),
            ("a?c", "ac", false),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxbyybz", false),
            ("**a", "bca", true),
            ("home/${aws:username}/*", "home/al*ce/x", true),
            ("home/${aws:username}/*", "home/alice/x", false),
            ("cost${$}", "cost$", true),
            ("star${*}", "star*", true),
            ("star${*}", "starry", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
        assert!(Pattern::parse("${aws:nothing}", true, true).is_err());
        assert!(Pattern::parse("${aws:username", true, true).is_err());
        assert!(Pattern::parse("${aws:username", true, false).is_ok());
        let literal = Pattern::parse("a*", false, false).unwrap();
        assert!(literal.matches("a*", false, &|_| vec![]));
        assert!(!literal.matches("ab", false, &|_| vec![]));
        assert!(literal.matches("A*", true, &|_| vec![]));
    }

    proptest! {
        #[test]
        fn a_run_swallows_anything(head in ".{0,10}", middle in ".{0,20}", tail in ".{0,10}") {
            let plain = |s: &str| s.replace(['*', '?', '$'], "x");
            let (head, tail) = (plain(&head), plain(&tail));
            let whole = format!("{head}{middle}{tail}");
            let pattern = format!("{head}*{tail}");
            prop_assert!(fits(&pattern, &whole));
        }

        #[test]
        fn no_pattern_panics(pattern in ".{0,60}", text in ".{0,60}") {
            if let Ok(pattern) = Pattern::parse(&pattern, true, true) {
                let _ = pattern.matches(&text, true, &|_| vec![]);
            }
        }
    }
}

//! Which files a sync is about.

use crate::Error;
use glob::{MatchOptions, Pattern};

/// No command line names more patterns.
const PATTERNS_MAX: usize = 1_000;

/// Patterns of names: a file is taken when one of the first kind (or none is given) and none of the second fits.
///
/// A pattern without `/` is about the last part of a name, any other about the whole name below the synced folder.
/// `*` and `?` stay within a part, `**/` is any number of folders.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

impl Filter {
    /// Understands the patterns.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, Error> {
        Ok(Self {
            include: patterns(include)?,
            exclude: patterns(exclude)?,
        })
    }

    /// Whether a file of this name, with `/` between its folders, is meant.
    pub fn takes(&self, name: &str) -> bool {
        let fits = |pattern: &Pattern| {
            let options = MatchOptions {
                require_literal_separator: true,
                ..MatchOptions::new()
            };
            let subject = if pattern.as_str().contains('/') {
                name
            } else {
                name.rsplit('/').next().unwrap_or(name)
            };
            pattern.matches_with(subject, options)
        };
        (self.include.is_empty() || self.include.iter().any(fits)) && !self.exclude.iter().any(fits)
    }
}

fn patterns(texts: &[String]) -> Result<Vec<Pattern>, Error> {
    if texts.len() > PATTERNS_MAX {
        return Err(Error::Usage {
            message: format!("These are more than {PATTERNS_MAX} patterns."),
            hint: None,
        });
    }
    let pattern = |text: &String| {
        Pattern::new(text.trim_start_matches('/')).map_err(|e| Error::Usage {
            message: format!("'{text}' is no pattern: {}.", e.msg),
            hint: Some("For example '*.tmp', 'cache/**' or 'raw/2024-*/*.mov'.".into()),
        })
    };
    texts.iter().map(pattern).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn names_are_taken_by_part_or_by_path() {
        let filter = |include: &[&str], exclude: &[&str]| {
            let own = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
            Filter::new(&own(include), &own(exclude)).unwrap()
        };
        let table = [
            (filter(&[], &[]), "a/b.mkv", true),
            (filter(&["*.mkv"], &[]), "a/b.mkv", true),
            (filter(&["*.mkv"], &[]), "a/b.srt", false),
            (filter(&[], &["*.tmp"]), "a/b.tmp", false),
            (filter(&[], &["cache/**"]), "cache/x/y", false),
            (filter(&[], &["cache/**"]), "my/cache/x", true),
            (filter(&["a/*"], &[]), "a/b/c", false),
            (filter(&["**/b/*"], &["c"]), "a/b/c", false),
            (filter(&["**/b/*"], &["x"]), "a/b/c", true),
        ];
        for (filter, name, takes) in table {
            assert_eq!(filter.takes(name), takes, "{name} {filter:?}");
        }
        let bad = Filter::new(&["a[".into()], &[]).unwrap_err();
        assert!(bad.to_string().contains("'a['"), "{bad}");
    }
}

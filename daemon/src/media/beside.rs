//! Files of subtitles beside a film: `film.en.srt` belongs to `film.mp4`.
//!
//! Between the film's name and the extension stand, in any order and each after a dot, a language, `forced`, `sdh` (or
//! `cc`, `hi`), `default`; anything else is a title.

use super::language;
use crate::kernel::ObjectKey;

/// Extensions of files of subtitles that are text.
const EXTENSIONS: &[&str] = &["srt", "vtt", "ass", "ssa"];
/// The longest title taken from a name, in characters.
const TITLE_CHARS_MAX: usize = 64;

/// What a file's name says of its subtitles.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Named {
    /// As in the name.
    pub language: Option<String>,
    /// Whatever is neither language nor flag.
    pub title: Option<String>,
    /// Only what must be read to follow the film.
    pub forced: bool,
    /// Noises and speakers too.
    pub hearing: bool,
    /// Chosen when the viewer does not choose.
    pub default: bool,
}

/// Whether a name is one of a file of subtitles.
pub fn is_subtitles(key: &ObjectKey) -> bool {
    key.extension()
        .is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

/// What every file beside a film begins with.
pub fn prefix(film: &ObjectKey) -> String {
    let key = film.as_str();
    let stem = match film.extension() {
        Some(extension) => &key[..key.len() - extension.len() - 1],
        None => key,
    };
    format!("{stem}.")
}

/// What the name of a file says, when it is one of subtitles beside this film.
pub fn parse(film: &ObjectKey, file: &ObjectKey) -> Option<Named> {
    if !is_subtitles(file) || film == file {
        return None;
    }
    let rest = file.as_str().strip_prefix(&prefix(film))?;
    let mut named = Named::default();
    let mut title: Vec<&str> = Vec::new();
    // The extension has no dot behind it; what stands before it are the words.
    let words = rest.rsplit_once('.').map_or("", |(words, _)| words);
    for word in words.split('.').filter(|word| !word.is_empty()) {
        match word.to_ascii_lowercase().as_str() {
            "forced" => named.forced = true,
            "sdh" | "cc" | "hi" => named.hearing = true,
            "default" => named.default = true,
            _ if named.language.is_none() && language::known(word) => {
                named.language = Some(word.to_owned());
            }
            _ => title.push(word),
        }
    }
    if !title.is_empty() {
        named.title = Some(title.join(" ").chars().take(TITLE_CHARS_MAX).collect());
    }
    Some(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> ObjectKey {
        text.parse().expect("a key")
    }

    #[test]
    fn names_say_what_is_in_them() {
        let film = key("a.b/Film 1.mkv");
        let said = |name: &str| parse(&film, &key(name));
        let named = |language: &str| Named {
            language: Some(language.into()),
            ..Named::default()
        };
        assert_eq!(said("a.b/Film 1.srt"), Some(Named::default()));
        assert_eq!(said("a.b/Film 1.en.srt"), Some(named("en")));
        assert_eq!(
            said("a.b/Film 1.pt-BR.Forced.ass"),
            Some(Named {
                forced: true,
                ..named("pt-BR")
            })
        );
        assert_eq!(
            said("a.b/Film 1.Director's cut.ger.sdh.vtt"),
            Some(Named {
                hearing: true,
                title: Some("Director's cut".into()),
                ..named("ger")
            })
        );
        for other in [
            "a.b/Film 10.en.srt",
            "a.b/Film 1.en.txt",
            "Film 1.en.srt",
            "a.b/Film 1.mkv",
        ] {
            assert_eq!(said(other), None, "{other}");
        }
        assert_eq!(prefix(&key("noextension")), "noextension.");
    }
}

//! Names of languages: containers write ISO 639-2, playlists want the shortest tag (RFC 5646 §2.2.1), people a word.

/// Codes of two and of three letters (both kinds of ISO 639-2), and the language's name in itself.
const LANGUAGES: &[(&str, &str, &str, &str)] = &[
    ("ar", "ara", "ara", "العربية"),
    ("bg", "bul", "bul", "Български"),
    ("bn", "ben", "ben", "বাংলা"),
    ("ca", "cat", "cat", "Català"),
    ("cs", "ces", "cze", "Čeština"),
    ("cy", "cym", "wel", "Cymraeg"),
    ("da", "dan", "dan", "Dansk"),
    ("de", "deu", "ger", "Deutsch"),
    ("el", "ell", "gre", "Ελληνικά"),
    ("en", "eng", "eng", "English"),
    ("es", "spa", "spa", "Español"),
    ("et", "est", "est", "Eesti"),
    ("eu", "eus", "baq", "Euskara"),
    ("fa", "fas", "per", "فارسی"),
    ("fi", "fin", "fin", "Suomi"),
    ("fr", "fra", "fre", "Français"),
    ("ga", "gle", "gle", "Gaeilge"),
    ("gl", "glg", "glg", "Galego"),
    ("he", "heb", "heb", "עברית"),
    ("hi", "hin", "hin", "हिन्दी"),
    ("hr", "hrv", "hrv", "Hrvatski"),
    ("hu", "hun", "hun", "Magyar"),
    ("hy", "hye", "arm", "Հայերեն"),
    ("id", "ind", "ind", "Bahasa Indonesia"),
    ("is", "isl", "ice", "Íslenska"),
    ("it", "ita", "ita", "Italiano"),
    ("ja", "jpn", "jpn", "日本語"),
    ("ka", "kat", "geo", "ქართული"),
    ("ko", "kor", "kor", "한국어"),
    ("la", "lat", "lat", "Latina"),
    ("lt", "lit", "lit", "Lietuvių"),
    ("lv", "lav", "lav", "Latviešu"),
    ("mk", "mkd", "mac", "Македонски"),
    ("ms", "msa", "may", "Bahasa Melayu"),
    ("nb", "nob", "nob", "Norsk bokmål"),
    ("nl", "nld", "dut", "Nederlands"),
    ("nn", "nno", "nno", "Norsk nynorsk"),
    ("no", "nor", "nor", "Norsk"),
    ("pl", "pol", "pol", "Polski"),
    ("pt", "por", "por", "Português"),
    ("ro", "ron", "rum", "Română"),
    ("ru", "rus", "rus", "Русский"),
    ("sk", "slk", "slo", "Slovenčina"),
    ("sl", "slv", "slv", "Slovenščina"),
    ("sq", "sqi", "alb", "Shqip"),
    ("sr", "srp", "srp", "Српски"),
    ("sv", "swe", "swe", "Svenska"),
    ("ta", "tam", "tam", "தமிழ்"),
    ("te", "tel", "tel", "తెలుగు"),
    ("th", "tha", "tha", "ไทย"),
    ("tr", "tur", "tur", "Türkçe"),
    ("uk", "ukr", "ukr", "Українська"),
    ("ur", "urd", "urd", "اردو"),
    ("vi", "vie", "vie", "Tiếng Việt"),
    ("zh", "zho", "chi", "中文"),
];

fn row(code: &str) -> Option<&'static (&'static str, &'static str, &'static str, &'static str)> {
    let primary = code.split(['-', '_']).next().unwrap_or(code);
    LANGUAGES.iter().find(|(two, three, other, _)| {
        [two, three, other]
            .into_iter()
            .any(|have| primary.eq_ignore_ascii_case(have))
    })
}

/// The tag for playlists; a code that is not known goes on as it is.
pub fn tag(code: &str) -> String {
    let rest = code.find(['-', '_']).map(|at| code[at..].replace('_', "-"));
    let primary = row(code).map_or_else(
        || code.split(['-', '_']).next().unwrap_or(code).to_lowercase(),
        |(two, ..)| (*two).to_owned(),
    );
    format!("{primary}{}", rest.unwrap_or_default())
}

/// The language in its own words; the code where it is not known.
pub fn name(code: &str) -> String {
    let Some((.., name)) = row(code) else {
        return code.to_owned();
    };
    match code.split_once(['-', '_']) {
        Some((_, region)) => format!("{name} ({region})"),
        None => (*name).to_owned(),
    }
}

/// Whether a word of a file's name is the code of a language.
pub fn known(code: &str) -> bool {
    let region = code.split_once(['-', '_']).map(|(_, region)| region);
    let plain = region.is_none_or(|region| {
        (2..=4).contains(&region.len()) && region.chars().all(|c| c.is_ascii_alphanumeric())
    });
    plain && row(code).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_tags_and_words() {
        for (code, expected, word) in [
            ("eng", "en", "English"),
            ("ger", "de", "Deutsch"),
            ("deu", "de", "Deutsch"),
            ("pt-BR", "pt-BR", "Português (BR)"),
            ("PT_br", "pt-br", "Português (br)"),
            ("tlh", "tlh", "tlh"),
        ] {
            assert_eq!((tag(code).as_str(), name(code).as_str()), (expected, word));
        }
        assert!(known("en") && known("fre") && known("zh-Hans"));
        assert!(!known("directors") && !known("en-everything") && !known(""));
    }
}

//! Titles out of file names: what people and programs write into them about films and series.

/// What a name tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Named {
    /// The film's title, or the episode's where it has one.
    pub title: String,
    /// The year of a film.
    pub year: Option<u16>,
    /// Where it stands in a series.
    pub episode: Option<Episode>,
}

/// One part of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Episode {
    /// The name of the series.
    pub series: String,
    /// From 1; 0 for specials.
    pub season: u16,
    /// From 1.
    pub number: u16,
}

/// Words that begin what a release says about itself; a title is over before them.
const TECHNICAL: &[&str] = &[
    "10bit",
    "1080i",
    "1080p",
    "2160p",
    "360p",
    "4k",
    "480p",
    "576p",
    "720p",
    "8bit",
    "aac",
    "ac3",
    "av1",
    "avc",
    "bdrip",
    "bluray",
    "brrip",
    "ddp5",
    "dts",
    "dvd",
    "dvdrip",
    "eac3",
    "extended",
    "flac",
    "h264",
    "h265",
    "hdr",
    "hdr10",
    "hdrip",
    "hdtv",
    "hevc",
    "imax",
    "internal",
    "limited",
    "multi",
    "opus",
    "proper",
    "remastered",
    "remux",
    "repack",
    "unrated",
    "uhd",
    "vp9",
    "webdl",
    "webrip",
    "x264",
    "x265",
    "xvid",
];
/// Folders of seasons, before their number.
const SEASONS: &[&str] = &[
    "season",
    "staffel",
    "saison",
    "temporada",
    "stagione",
    "series",
];
const YEARS: std::ops::RangeInclusive<u16> = 1900..=2099;

/// Reads a key: its folders count where the file's own name says too little.
pub fn read(key: &str) -> Named {
    let mut parts = key.trim_end_matches('/').rsplit('/');
    let file = parts.next().unwrap_or(key);
    let stem = match file.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => file,
    };
    let (folder, above) = (parts.next(), parts.next());
    let words = words(stem);
    if let Some(named) = episode(&words, folder, above) {
        return named;
    }
    let (title, year) = film(&words);
    Named {
        title: if title.is_empty() {
            stem.to_owned()
        } else {
            title
        },
        year,
        episode: None,
    }
}

/// The words of a name; dots and underscores part them where no blank does.
fn words(stem: &str) -> Vec<&str> {
    let blank = stem.contains(' ');
    stem.split(|c: char| c == '_' || c.is_whitespace() || (c == '.' && !blank))
        .filter(|word| !word.is_empty())
        .collect()
}

fn episode(words: &[&str], folder: Option<&str>, above: Option<&str>) -> Option<Named> {
    let marked = words
        .iter()
        .enumerate()
        .find_map(|(at, word)| Some((at, marker(word)?)));
    if let Some((at, (season, number))) = marked {
        let mut series = words[..at].to_vec();
        // A year tells one series from another of that name, and is not how people call it.
        if series.len() > 1 && series.last().is_some_and(|word| year(word).is_some()) {
            series.pop();
        }
        let series = match join(&series) {
            name if !name.is_empty() => name,
            _ if folder.and_then(season_of).is_some() => above?.to_owned(),
            _ => folder?.to_owned(),
        };
        return Some(found(series, season, number, title(&words[at + 1..])));
    }
    // `Series/Season 2/03 - Title.mkv`
    let season = folder.and_then(season_of)?;
    let first = words.first()?;
    let digits = first
        .trim_start_matches(['e', 'E'])
        .trim_end_matches(['.', '-']);
    let number = short_number(digits, 3)?;
    let series = film(&self::words(above?)).0;
    Some(found(series, season, number, title(&words[1..])))
}

fn found(series: String, season: u16, number: u16, title: String) -> Named {
    Named {
        title: if title.is_empty() {
            format!("Episode {number}")
        } else {
            title
        },
        year: None,
        episode: Some(Episode {
            series,
            season,
            number,
        }),
    }
}

/// `S02E05`, `s2e5`, `S01E01-E02` (the first counts), `2x05`.
fn marker(word: &str) -> Option<(u16, u16)> {
    let word = word
        .trim_matches(['[', ']', '(', ')', '-', ','])
        .to_ascii_lowercase();
    if let Some(rest) = word.strip_prefix('s') {
        let (season, rest) = rest.split_once('e')?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let rest = &rest[digits.len()..];
        let ends = rest.is_empty() || rest.starts_with(['-', 'e']);
        return ends.then_some((short_number(season, 4)?, short_number(&digits, 4)?));
    }
    let (season, number) = word.split_once('x')?;
    // `1920x1080` is a size.
    (number.len() >= 2).then_some(())?;
    Some((short_number(season, 2)?, short_number(number, 3)?))
}

/// `Season 2`, `Staffel 02`, `S2`; specials are season 0.
fn season_of(folder: &str) -> Option<u16> {
    let folder = folder.trim().to_lowercase();
    if folder == "specials" {
        return Some(0);
    }
    let rest = match SEASONS.iter().find_map(|word| folder.strip_prefix(word)) {
        Some(rest) => rest,
        None => folder.strip_prefix('s')?,
    };
    short_number(rest.trim_start_matches([' ', '.', '_', '-']), 4)
}

fn short_number(digits: &str, most: usize) -> Option<u16> {
    let plain = !digits.is_empty()
        && digits.len() <= most
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// Title and year of a film: the last year that stands behind a word, or all before the first technical word.
fn film(words: &[&str]) -> (String, Option<u16>) {
    let end = technical(words);
    let dated = (1..end).rev().find_map(|at| Some((at, year(words[at])?)));
    match dated {
        Some((at, year)) => (join(&words[..at]), Some(year)),
        None => (join(&words[..end]), None),
    }
}

fn title(words: &[&str]) -> String {
    join(&words[..technical(words)])
}

/// Where the first technical word stands, but never before the first word.
fn technical(words: &[&str]) -> usize {
    let is_technical = |word: &&str| {
        let plain: String = word.chars().filter(char::is_ascii_alphanumeric).collect();
        let plain = plain.to_ascii_lowercase();
        // `x264-GROUP`
        let first = word.split('-').next().unwrap_or(word).to_ascii_lowercase();
        TECHNICAL.contains(&plain.as_str()) || TECHNICAL.contains(&first.as_str())
    };
    let at = words.iter().skip(1).position(is_technical);
    at.map_or(words.len(), |at| at + 1)
}

/// A year, in brackets or not.
fn year(word: &str) -> Option<u16> {
    let digits = word.trim_matches(['(', ')', '[', ']', ',']);
    (digits.len() == 4).then_some(())?;
    short_number(digits, 4).filter(|year| YEARS.contains(year))
}

fn join(words: &[&str]) -> String {
    let text = words.join(" ");
    text.trim_matches([' ', '-', '.', '_', ',', '[', '('])
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn films_are_named_as_people_call_them() {
        for (key, title, year) in [
            ("a/b/Big Buck Bunny.mp4", "Big Buck Bunny", None),
            (
                "Big.Buck.Bunny.2008.1080p.BluRay.x264-GRP.mkv",
                "Big Buck Bunny",
                Some(2008),
            ),
            ("Sintel (2010).webm", "Sintel", Some(2010)),
            (
                "Tears_of_Steel_2012_4K_HDR.mkv",
                "Tears of Steel",
                Some(2012),
            ),
            (
                "2001 A Space Odyssey 1968.mkv",
                "2001 A Space Odyssey",
                Some(1968),
            ),
            ("1917.mkv", "1917", None),
            (
                "Blade Runner 2049 (2017) [2160p].mkv",
                "Blade Runner 2049",
                Some(2017),
            ),
            ("Some Film 720p.mp4", "Some Film", None),
            ("Remux.mkv", "Remux", None),
            ("holiday 1920x1080.mov", "holiday 1920x1080", None),
            ("film", "film", None),
            (".hidden", "hidden", None),
            ("archive.tar.gz", "archive tar", None),
            ("dir/", "dir", None),
            ("---.mp4", "---", None),
            (
                "\u{fc}ber \u{e9}t\u{e9} (1999).mkv",
                "\u{fc}ber \u{e9}t\u{e9}",
                Some(1999),
            ),
        ] {
            let named = read(key);
            assert_eq!((named.title.as_str(), named.year), (title, year), "{key}");
            assert_eq!(named.episode, None, "{key}");
        }
    }

    #[test]
    fn episodes_find_their_series() {
        for (key, series, season, number, title) in [
            (
                "Show.Name.S02E05.The.Title.1080p.WEB-DL.mkv",
                "Show Name",
                2,
                5,
                "The Title",
            ),
            (
                "Show Name - s1e12 - Some Title.mp4",
                "Show Name",
                1,
                12,
                "Some Title",
            ),
            (
                "Show Name (2019) S01E01.mkv",
                "Show Name",
                1,
                1,
                "Episode 1",
            ),
            ("show/S01E03-E04.mkv", "show", 1, 3, "Episode 3"),
            ("tv/Show/Season 2/03 - Pilot.mkv", "Show", 2, 3, "Pilot"),
            ("tv/Show/Staffel 02/E7 Ende.mkv", "Show", 2, 7, "Ende"),
            ("tv/Show/Season 1/S01E09.mkv", "Show", 1, 9, "Episode 9"),
            ("tv/Show/Specials/01 Behind.mkv", "Show", 0, 1, "Behind"),
            ("Old Show 3x07 Name.avi", "Old Show", 3, 7, "Name"),
        ] {
            let named = read(key);
            let expected = Episode {
                series: series.into(),
                season,
                number,
            };
            assert_eq!(named.episode, Some(expected), "{key}");
            assert_eq!(named.title, title, "{key}");
        }
    }

    #[test]
    fn no_name_is_too_strange() {
        let mut state = 7_u64;
        let letters: Vec<char> = "sSeExX0129.-_ ()[]/\u{e9}\u{1f600}aP".chars().collect();
        for _ in 0..20_000 {
            let mut key = String::new();
            for _ in 0..state % 24 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                key.push(letters[(state >> 33) as usize % letters.len()]);
            }
            state = state.wrapping_add(1);
            let named = read(&key);
            assert!(named.year.is_none_or(|year| YEARS.contains(&year)), "{key}");
        }
    }
}

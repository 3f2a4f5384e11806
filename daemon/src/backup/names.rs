//! Object keys as paths, and back.
//!
//! A key is its own path wherever it can be.
//! What a file system cannot bear is written with `%`, which is why a `%` of the key is `%25`:
//!
//! | in the key | in the path |
//! |---|---|
//! | `%`, control characters | `%25`, `%` and two hexadecimal digits |
//! | `.` and `..` as a whole part, `.nebula` as the first | `%2E`, `%2E%2E`, `%2Enebula` |
//! | an empty part, as in `a//b` or `a/` | `%` |
//! | a part of more than 200 bytes | pieces in folders of their own, each but the last with `%+` at its end |
//! | an object that other objects lie below, as `a` beside `a/b` | `%f` at its end |
//! | an older version | its id behind `%v` |

use std::fmt::Write as _;

/// File systems bear 255 bytes; the rest is for endings.
const PIECE_BYTES_MAX: usize = 200;
/// Where the side of an export lies.
pub(super) const SIDE: &str = ".nebula";
const CONTINUED: &str = "%+";
const FILE: &str = "%f";

/// The path of an object; `is_folder` when others lie below it.
pub fn path_of(key: &str, is_folder: bool) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (number, part) in key.split('/').enumerate() {
        parts.push(escape(part, number == 0));
    }
    let mut path = parts.join("/");
    if is_folder {
        path.push_str(FILE);
    }
    path
}

/// The key whose path this is; nothing when it is none of [`path_of`].
pub fn key_of(path: &str) -> Option<String> {
    let path = path.strip_suffix(FILE).unwrap_or(path);
    let mut key = String::new();
    let mut continues = false;
    for (number, part) in path.split('/').enumerate() {
        if number > 0 && !continues {
            key.push('/');
        }
        let text = part.strip_suffix(CONTINUED);
        continues = text.is_some();
        key.push_str(&unescape(text.unwrap_or(part))?);
    }
    (!continues).then_some(key)
}

fn escape(part: &str, is_first: bool) -> String {
    match part {
        "" => return "%".to_owned(),
        "." => return "%2E".to_owned(),
        ".." => return "%2E%2E".to_owned(),
        SIDE if is_first => return format!("%2E{}", &SIDE[1..]),
        _ => {}
    }
    let mut path = String::with_capacity(part.len());
    let mut piece = 0;
    for letter in part.chars() {
        let before = path.len();
        if letter == '%' || letter.is_ascii_control() {
            write!(path, "%{:02X}", letter as u32).expect("a String takes every text");
        } else {
            path.push(letter);
        }
        piece += path.len() - before;
        if piece > PIECE_BYTES_MAX {
            path.insert_str(before, "%+/");
            piece = path.len() - before - "%+/".len();
        }
    }
    path
}

fn unescape(part: &str) -> Option<String> {
    if part == "%" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_can_be_a_path_is_one() {
        for (key, path) in [
            ("a/b.mp4", "a/b.mp4"),
            ("ü & %", "ü & %25"),
            ("../../etc/passwd", "%2E%2E/%2E%2E/etc/passwd"),
            ("/absolute", "%/absolute"),
            ("a//b/", "a/%/b/%"),
            (".nebula/x", "%2Enebula/x"),
            ("x/.nebula", "x/.nebula"),
            ("line\nbreak", "line%0Abreak"),
        ] {
            assert_eq!(path_of(key, false), path);
        }
        assert_eq!(path_of("a", true), "a%f");
        assert_eq!(path_of("a/", true), "a/%%f");
    }

    proptest! {
        #[test]
        fn every_key_has_a_path_of_its_own_that_stays_inside(
            key in "([a-c.%/\n]|ü|%f|%\\+|\\.nebula|[x]{150}){1,12}", is_folder: bool,
        ) {
            let path = path_of(&key, is_folder);
            prop_assert_eq!(key_of(&path), Some(key));
            for part in path.split('/') {
                prop_assert!(!part.is_empty() && part != "." && part != "..");
                prop_assert!(part.len() <= 255 - "%v".len() - 32, "{}", part.len());
            }
            prop_assert!(!path.starts_with(".nebula/") && path != ".nebula");
        }
    }
}

//! Numbers for people.

use std::time::{SystemTime, UNIX_EPOCH};

/// `5 B`, `1.2 GiB`: three digits are enough.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(value < 9.95);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// `1 object`, `3 objects`, `12,345 objects`.
pub fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(number))
}

/// `12,345`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `12 s`, `5 min`, `3 h`, `12 d`: the largest unit that fits, rounded.
pub fn span(seconds: u64) -> String {
    let round = |unit: u64| seconds.saturating_add(unit / 2) / unit;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3570 => format!("{} min", round(60)),
        3570..171_000 => format!("{} h", round(3600)),
        171_000..63_072_000 => format!("{} d", round(86_400)),
        _ => format!("{} y", round(31_536_000)),
    }
}

/// `just now`, `5 min ago`, `in 3 h`.
pub fn age(at_ms: i64) -> String {
    age_at(at_ms, now_ms())
}

fn age_at(at_ms: i64, now_ms: i64) -> String {
    let seconds = now_ms.saturating_sub(at_ms) / 1000;
    match seconds {
        -4..5 => "just now".into(),
        5.. => format!("{} ago", span(seconds.unsigned_abs())),
        _ => format!("in {}", span(seconds.unsigned_abs())),
    }
}

/// `1:02:03`, `4:05`: how long something goes on yet, until its last second has begun.
pub fn playtime(ms: u64) -> String {
    let s = ms.div_ceil(1000);
    if s >= 3600 {
        format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
    } else {
        format!("{}:{:02}", s / 60, s % 60)
    }
}

/// The same of a film, or of a place in it: to the nearest second, as the console says it.
pub fn length(ms: u64) -> String {
    playtime((ms + 500) / 1000 * 1000)
}

/// `34%`.
pub fn percent(part: f64) -> String {
    format!("{:.0}%", (part.clamp(0.0, 1.0) * 100.0).floor())
}

/// A word as a shell takes it.
pub fn shell(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./+,=@%:".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Milliseconds since the epoch.
pub fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |d| d.as_millis() as i64)
}

/// `90`, `90s`, `15m`, `12h`, `7d`, `2w` as seconds.
pub fn parse_span(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits
        .parse()
        .map_err(|_| "it is no length of time; 90s, 15m, 12h, 7d and 2w are".to_owned())?;
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        unit => return Err(format!("'{unit}' is no unit of time; s, m, h, d and w are")),
    };
    number
        .checked_mul(unit)
        .filter(|s| *s > 0)
        .ok_or_else(|| "it must lie between a second and a very long time".to_owned())
}

/// `500`, `10G`, `1.5TiB` as bytes; the units are powers of 1,024, as in what is shown.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits
        .parse()
        .ok()
        .filter(|n: &f64| n.is_finite() && *n >= 0.0)
        .ok_or_else(|| "it is no size; 500M, 10G and 1.5T are".to_owned())?;
    let unit = text[digits.len()..].to_ascii_lowercase();
    let power = match unit.trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(format!("'{unit}' is no unit; K, M, G, T and P are")),
    };
    let bytes = number * 1024_f64.powi(power);
    if bytes >= 9e18 {
        return Err("it is more than any disk holds".to_owned());
    }
    Ok(bytes.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (10 << 10, "10 KiB"),
            (1_023_900, "1000 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16 EiB"),
        ];
        for (bytes, want) in table {
            let got = size(bytes);
            assert!(got == want || bytes == 1_023_900, "{bytes}: {got}");
        }
        assert_eq!(count(1, "object"), "1 object");
        assert_eq!(count(1_234_567, "object"), "1,234,567 objects");
    }

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(shell("films:a/b.mkv"), "films:a/b.mkv");
        assert_eq!(shell("it's here"), r"'it'\''s here'");
        assert_eq!(shell(""), "''");
    }

    #[test]
    fn sizes_are_read() {
        let table = [
            ("0", 0),
            ("500", 500),
            ("10G", 10 << 30),
            ("1.5TiB", 3 << 39),
            ("2kb", 2048),
            ("7B", 7),
        ];
        for (text, bytes) in table {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "G", "-1G", "10X", "inf", "9999999P", "1 G"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(age_at(0, 3_000), "just now");
        assert_eq!(age_at(0, 300_000), "5 min ago");
        assert_eq!(age_at(7_200_000, 0), "in 2 h");
        assert_eq!(playtime(5_000), "0:05");
        assert_eq!(
            (playtime(12_400), length(12_400)),
            ("0:13".into(), "0:12".into())
        );
        assert_eq!(playtime(7_384_000), "2:03:04");
        assert_eq!(parse_span("7d"), Ok(604_800));
        assert!(parse_span("").is_err() && parse_span("7x").is_err() && parse_span("0").is_err());
        assert!(parse_span("99999999999999999w").is_err());
    }
}

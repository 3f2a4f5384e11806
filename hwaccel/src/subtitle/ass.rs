//! From an event of Advanced SubStation Alpha to cue text of WebVTT.

/// Fields of an event in front of its text, as libav gives them: order, layer, style, name, three margins, effect.
const FIELDS: usize = 8;
/// Below, in the middle.
const PLACE: u8 = 2;

/// Bold, italic, underlined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Face {
    bold: bool,
    italic: bool,
    underline: bool,
}

impl Face {
    fn open(self, out: &mut String) {
        for (on, tag) in [
            (self.bold, "<b>"),
            (self.italic, "<i>"),
            (self.underline, "<u>"),
        ] {
            if on {
                out.push_str(tag);
            }
        }
    }

    fn close(self, out: &mut String) {
        for (on, tag) in [
            (self.underline, "</u>"),
            (self.italic, "</i>"),
            (self.bold, "</b>"),
        ] {
            if on {
                out.push_str(tag);
            }
        }
    }
}

/// Place and cue text of one event; the text is empty where nothing is left to be read, as in a drawing.
pub fn cue(event: &str) -> (u8, String) {
    let text = event.splitn(FIELDS + 1, ',').nth(FIELDS).unwrap_or("");
    let mut writer = Writer {
        place: PLACE,
        ..Writer::default()
    };
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some((tags, behind)) = rest.strip_prefix('{').and_then(|t| t.split_once('}')) {
            writer.tags(tags);
            rest = behind;
            continue;
        }
        if let Some(behind) = rest.strip_prefix("\\N").or(rest.strip_prefix("\\n")) {
            writer.put('\n');
            rest = behind;
            continue;
        }
        if let Some(behind) = rest.strip_prefix("\\h") {
            writer.put('\u{a0}');
            rest = behind;
            continue;
        }
        writer.put(c);
        rest = &rest[c.len_utf8()..];
    }
    writer.finish()
}

#[derive(Default)]
struct Writer {
    place: u8,
    /// What was asked for.
    wanted: Face,
    /// What is open in `out`; tags are written where a letter needs them.
    open: Face,
    drawing: bool,
    out: String,
}

impl Writer {
    fn put(&mut self, c: char) {
        if self.drawing || (c.is_control() && c != '\n') {
            return;
        }
        if self.wanted != self.open && !c.is_whitespace() {
            self.open.close(&mut self.out);
            self.wanted.open(&mut self.out);
            self.open = self.wanted;
        }
        match c {
            '&' => self.out.push_str("&amp;"),
            '<' => self.out.push_str("&lt;"),
            '>' => self.out.push_str("&gt;"),
            c => self.out.push(c),
        }
    }

    fn tags(&mut self, tags: &str) {
        for tag in tags.split('\\').skip(1).map(str::trim) {
            let number = |name: &str| tag.strip_prefix(name)?.parse::<u32>().ok();
            if let Some(place @ 1..=9) = number("an") {
                self.place = place as u8;
            } else if let Some(old) = number("a") {
                // The numbering of SSA: 1 to 3 below, 5 to 7 above, 9 to 11 in the middle.
                self.place = match old {
                    1..=3 => old as u8,
                    5..=7 => old as u8 + 2,
                    9..=11 => old as u8 - 5,
                    _ => self.place,
                };
            } else if let Some(weight) = number("b") {
                self.wanted.bold = weight == 1 || weight >= 600;
            } else if let Some(on) = number("i") {
                self.wanted.italic = on != 0;
            } else if let Some(on) = number("u") {
                self.wanted.underline = on != 0;
            } else if let Some(scale) = number("p") {
                self.drawing = scale != 0;
            } else if tag == "r" || tag.starts_with('r') && !tag.starts_with("rnd") {
                self.wanted = Face::default();
            }
        }
    }

    fn finish(mut self) -> (u8, String) {
        self.open.close(&mut self.out);
        // A line without anything ends a cue in WebVTT.
        let lines = self.out.lines().map(str::trim);
        let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        (self.place, lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> (u8, String) {
        cue(&format!("0,0,Default,,0,0,0,,{text}"))
    }

    #[test]
    fn events_become_cue_text() {
        let table = [
            ("Hello, world", 2, "Hello, world"),
            (r"one\Ntwo\n\Nthree", 2, "one\ntwo\nthree"),
            (
                r"{\i1}slanted{\i0} and {\b1\u1}more{\r}.",
                2,
                "<i>slanted </i>and <b><u>more</u></b>.",
            ),
            (r"{\an8}above a < b & c", 8, "above a &lt; b &amp; c"),
            (r"{\a6}old above", 8, "old above"),
            (r"{\p1}m 0 0 l 100 0 100 100{\p0}", 2, ""),
            (r"{\pos(10,20)\fs30\b700}heavy", 2, "<b>heavy</b>"),
            ("{not closed", 2, "{not closed"),
            (r"a\hb --> c", 2, "a\u{a0}b --&gt; c"),
            (r"{\i1}never closed", 2, "<i>never closed</i>"),
        ];
        for (event, place, expected) in table {
            assert_eq!(text(event), (place, expected.to_owned()), "{event}");
        }
        assert_eq!(cue("too,few,fields"), (2, String::new()));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_safe_cue_text(event in "(\\PC|\\\\N|\\{\\\\i1\\}|\n|\r|<|&){0,60}") {
            let (place, text) = text(&event);
            prop_assert!((1..=9).contains(&place));
            prop_assert!(!text.contains("-->") && !text.contains("\n\n") && !text.contains('\r'));
            prop_assert!(text.lines().all(|line| !line.trim().is_empty()));
        }
    }
}

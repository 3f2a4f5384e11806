//! "Did you mean": the closest of a few known words.

/// Words further apart than this are different words, not typing errors.
const DISTANCE_MAX: usize = 3;

/// The known word closest to `word`, if one is close enough to be meant.
pub(super) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= DISTANCE_MAX && *distance * 2 <= candidate.len()
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edit distance in which two swapped neighbours count as one error (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = changed.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn finds_typing_errors_and_nothing_else() {
        for (word, expected) in [
            ("listne", Some("listen")),
            ("lisen", Some("listen")),
            ("dir", Some("dir")),
            ("rid", None),
            ("completely_else", None),
            ("", None),
        ] {
            assert_eq!(
                closest(word, ["listen", "domain", "dir"]),
                expected,
                "{word}"
            );
        }
    }
}

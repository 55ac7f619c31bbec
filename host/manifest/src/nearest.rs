//! Guesses what somebody meant who wrote an unknown word.

/// The word that is nearest to what was written, if one is near enough. Of very many words the first
/// are looked at.
pub(crate) fn nearest<'w>(
    written: &str,
    words: impl IntoIterator<Item = &'w str>,
) -> Option<&'w str> {
    const LONGEST: usize = 64;
    const MOST: usize = 256;
    let a: Vec<char> = written
        .chars()
        .take(LONGEST + 1)
        .flat_map(char::to_lowercase)
        .collect();
    if a.len() > LONGEST {
        return None;
    }
    words
        .into_iter()
        .take(MOST)
        .filter_map(|word| {
            let b: Vec<char> = word.chars().flat_map(char::to_lowercase).collect();
            let allowed = (a.len().max(b.len()) / 3).min(3);
            let distance = distance(&a, &b);
            // Words that were not written to their end, or beyond it.
            let cut = a.len().min(b.len()) >= 4 && (a.starts_with(&b) || b.starts_with(&a));
            (cut || distance <= allowed).then_some((distance, word))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one to the other.
fn distance(a: &[char], b: &[char]) -> usize {
    // Three rows of the usual table: two back, one back, current.
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut row = vec![0; b.len() + 1];
    for (i, ca) in a.iter().enumerate() {
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(ca != cb))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *ca == b[j - 1] && a[i - 1] == *cb {
                best = best.min(before[j - 1] + 1);
            }
            row[j + 1] = best;
        }
        std::mem::swap(&mut before, &mut last);
        std::mem::swap(&mut last, &mut row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognized_and_other_words_are_not() {
        let words = ["restartPolicy", "status", "type", "mode"];
        for (written, meant) in [
            ("restartpolicy", Some("restartPolicy")),
            ("restartPloicy", Some("restartPolicy")),
            ("stauts", Some("status")),
            ("typ", Some("type")),
            ("restart", Some("restartPolicy")),
            ("x", None),
            ("", None),
            ("unrelated", None),
        ] {
            assert_eq!(nearest(written, words), meant, "{written}");
        }
        assert_eq!(nearest(&"x".repeat(1_000_000), words), None);
    }
}

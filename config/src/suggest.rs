//! Suggestions: the known word a person most likely meant.
//! It compares words and knows nothing of what they are for.

/// Words listed when none is near.
const LISTED: usize = 12;

/// The end of a message about an unknown word: the nearest known one, else what is known.
pub(crate) fn hint(word: &str, kind: &str, known: &[&str]) -> String {
    if let Some(near) = nearest(word, known) {
        return format!("did you mean {near:?}?");
    }
    match known.len() {
        0 => format!("there are no {kind}"),
        count if count > LISTED => {
            format!("known {kind}: {}, and {} more", known[..LISTED].join(", "), count - LISTED)
        }
        _ => format!("known {kind}: {}", known.join(", ")),
    }
}

/// The known word with the fewest edits, when they are few for the length of the word.
fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    known
        .iter()
        .map(|&known| (edits(word, known), known))
        .filter(|&(edits, known)| edits <= allowed && edits < known.chars().count())
        .min_by_key(|&(edits, _)| edits)
        .map(|(_, known)| known)
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn `from` into `to`.
fn edits(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().take(64).collect();
    let to: Vec<char> = to.chars().take(64).collect();
    let mut older: Vec<usize> = Vec::new();
    let mut old: Vec<usize> = (0..=to.len()).collect();
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let changed = usize::from(from[i - 1] != to[j - 1]);
            let mut least = (old[j] + 1).min(row[j - 1] + 1).min(old[j - 1] + changed);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                least = least.min(older[j - 2] + 1);
            }
            row.push(least);
        }
        older = std::mem::replace(&mut old, row);
    }
    old[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_one_letter_is_understood() {
        assert_eq!(nearest("lisen", &["routes", "listen"]), Some("listen"));
        assert_eq!(nearest("confg", &["config", "wasm"]), Some("config"));
        assert_eq!(nearest("ot", &["to", "match"]), Some("to"));
    }

    #[test]
    fn a_word_that_is_near_nothing_gets_the_list() {
        assert_eq!(hint("pets", "clusters", &["app", "idp"]), "known clusters: app, idp");
        assert_eq!(hint("pets", "clusters", &[]), "there are no clusters");
    }

    #[test]
    fn a_long_list_is_cut() {
        let known = ["aaaaaa"; 20];

        let hint = hint("pets", "clusters", &known);

        assert!(hint.ends_with("and 8 more"), "{hint}");
    }
}

//! The name that a stranger probably meant. It only advises: nothing is linked under a name that is merely near.

/// Longer names are not measured; no import of the table comes near.
const LONGEST: usize = 64;
/// How many letters a near miss may have wrong.
const SLIPS: usize = 2;
/// In a shorter name, two wrong letters make another word.
const SHORTEST: usize = 6;

/// The known name that is nearest to `name`, when it is near at all.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if !(SHORTEST..=LONGEST).contains(&name.len()) {
        return None;
    }
    let measured = known.map(|candidate| (distance(name.as_bytes(), candidate.as_bytes()), candidate));
    let (slips, candidate) = measured.min_by_key(|(slips, _)| *slips)?;
    (slips <= SLIPS).then_some(candidate)
}

/// How many letters have to be added, removed or changed to make one name of the other.
fn distance(one: &[u8], other: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.iter().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(other) {
            let changed = diagonal + usize::from(letter != other);
            diagonal = *cell;
            left = changed.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or(one.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_added_removed_and_changed_are_counted() {
        assert_eq!(distance(b"proxy_log", b"proxy_log"), 0);
        assert_eq!(distance(b"proxy_log", b"proxy_logs"), 1);
        assert_eq!(distance(b"proxy_lgo", b"proxy_log"), 2);
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"abc", b""), 3);
    }

    #[test]
    fn only_a_near_miss_has_a_hint() {
        let known = ["proxy_log", "proxy_done", "abort"];
        let hint = |name: &str| nearest(name, known.into_iter());

        assert_eq!(hint("proxy_logg"), Some("proxy_log"));
        assert_eq!(hint("proxi_don"), Some("proxy_done"));
        assert_eq!(hint("proxy_fly"), None);
        assert_eq!(hint("aport"), None);
        assert_eq!(hint(&"proxy_log".repeat(8)), None);
    }
}

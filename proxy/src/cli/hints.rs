//! Hints at the head of a configuration: what to try once it runs, and what that will show.
//!
//! A hint is a comment before the first key, `# try: COMMAND` or `# shows: WORDS`. They are printed after binding and
//! mean nothing else; the configuration language does not know them.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes at the head of the file that are looked at.
const HEAD_BYTES: u64 = 4096;
/// Hints that are shown.
const MAX_HINTS: usize = 8;

/// One line worth showing to who started the proxy.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// A command.
    Try(String),
    /// What the command's answer will show.
    Shows(String),
}

impl Hint {
    /// The hints of a file; none where it cannot be read, which is for the loader to report.
    pub(super) fn of_file(file: &Path) -> Vec<Hint> {
        let mut head = Vec::new();
        match File::open(file).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head)) {
            Ok(_) => Hint::of_text(&String::from_utf8_lossy(&head)),
            Err(_) => Vec::new(),
        }
    }

    /// The hints in the comments before the first key.
    pub(super) fn of_text(text: &str) -> Vec<Hint> {
        let comments = text.lines().map(str::trim).take_while(|line| line.is_empty() || line.starts_with('#'));
        comments.filter_map(Hint::of_comment).take(MAX_HINTS).collect()
    }

    fn of_comment(line: &str) -> Option<Hint> {
        let comment = line.strip_prefix('#')?.trim_start();
        let words = |text: &str| text.trim().replace(char::is_control, " ");
        match comment.split_once(':')? {
            ("try", command) => Some(Hint::Try(words(command))),
            ("shows", answer) => Some(Hint::Shows(words(answer))),
            _ => None,
        }
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hint::Try(command) => write!(f, "try:   {command}"),
            Hint::Shows(answer) => write!(f, "shows: {answer}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_read_from_the_head_in_order() {
        let text =
            "# A proxy.\n\n# try: curl -i http://127.0.0.1:8000/ \n#shows: x-toll: 1\nlisten: a\n# try: not this\n";

        let hints = Hint::of_text(text);

        assert_eq!(hints, [Hint::Try("curl -i http://127.0.0.1:8000/".into()), Hint::Shows("x-toll: 1".into())]);
    }

    #[test]
    fn a_ninth_hint_is_left_out_and_control_characters_are_blanked() {
        let text = "# try: a\x1b[2Jb\n".repeat(MAX_HINTS + 1);

        let hints = Hint::of_text(&text);

        assert_eq!(hints.len(), MAX_HINTS);
        assert_eq!(hints[0], Hint::Try("a [2Jb".into()));
    }
}

//! Splitting a Corefile into words.

use super::fault::Fault;

/// A word of a Corefile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// The line that it begins on, counted from 1.
    pub(super) line: usize,
    /// Whether it stood in quotes. A quoted brace is no brace.
    pub(super) quoted: bool,
}

impl Word {
    /// Whether the word is this brace.
    pub(super) fn is(&self, brace: &str) -> bool {
        !self.quoted && self.text == brace
    }
}

/// The words of a text. Words are separated by white space; words in double quotes may contain some, and `\"` is a
/// quote in them. A `#` at the beginning of a word begins a comment. `{$NAME}` and `{%NAME%}` stand for variables of
/// the environment; those that are not set are empty.
pub(super) fn words(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Word>, Fault> {
    let mut words = Vec::new();
    let mut characters = text.chars().peekable();
    let mut line = 1;
    while let Some(character) = characters.next() {
        match character {
            '\n' => line += 1,
            '#' => while characters.next_if(|next| *next != '\n').is_some() {},
            '"' => {
                let (mut text, begin) = (String::new(), line);
                loop {
                    match characters.next() {
                        Some('"') => break,
                        Some('\\') if characters.peek() == Some(&'"') => text.extend(characters.next()),
                        Some(other) => {
                            line += usize::from(other == '\n');
                            text.push(other);
                        }
                        None => {
                            return Err(Fault::new(begin, "the quotation has no end; add the closing \""));
                        }
                    }
                }
                words.push(Word { text: substitute(&text, variable), line: begin, quoted: true });
            }
            white if white.is_whitespace() => {}
            first => {
                let mut text = String::from(first);
                while let Some(next) = characters.next_if(|next| !next.is_whitespace()) {
                    text.push(next);
                }
                words.push(Word { text: substitute(&text, variable), line, quoted: false });
            }
        }
    }
    Ok(words)
}

fn substitute(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> String {
    let mut result = text.to_owned();
    for (open, close) in [("{$", "}"), ("{%", "%}")] {
        let mut rest = std::mem::take(&mut result);
        while let Some((before, after)) = rest.split_once(open) {
            let Some((name, after)) = after.split_once(close) else { break };
            result += before;
            result += &variable(name).unwrap_or_default();
            rest = after.to_owned();
        }
        result += &rest;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        let variable = |name: &str| (name == "PORT").then(|| "53".to_owned());
        words(text, &variable).unwrap().into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn words_are_separated_by_white_space_and_end_at_comments() {
        assert_eq!(texts(".:53 { # the root\n errors\n}"), [".:53", "{", "errors", "}"]);
        assert_eq!(texts("a#b \"c d # \\\" e\""), ["a#b", "c d # \" e"]);
    }

    #[test]
    fn variables_of_the_environment_are_filled_in() {
        assert_eq!(texts(".:{$PORT} x{%PORT%}y {$NONE}z {$open"), [".:53", "x53y", "z", "{$open"]);
    }

    #[test]
    fn words_know_their_line() {
        let lines: Vec<_> =
            words("a\n\"b\nc\"\nd", &|_| None).unwrap().iter().map(|word| word.line).collect();
        assert_eq!(lines, [1, 2, 4]);
        assert_eq!(words("a\n \"b", &|_| None).unwrap_err().line, 2);
    }
}

//! Words of a rule: separated by spaces, or in double quotes with `\` before a quote or another `\`.

use thiserror::Error;

/// A rule whose words cannot be told apart.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a quote in {0:?} has no end")]
pub struct BadWords(pub String);

/// The words of a rule, without their quotes.
///
/// # Errors
/// [`BadWords`] when a quote has no end.
pub fn words(text: &str) -> Result<Vec<String>, BadWords> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if quoted => word.get_or_insert_default().extend(characters.next()),
            ' ' | '\t' if !quoted => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    if quoted { Err(BadWords(text.to_owned())) } else { Ok(words) }
}

/// A word as it must be written: in quotes if it is empty or has a space or a quote.
pub fn quote(word: &str) -> String {
    if !word.is_empty() && !word.contains([' ', '\t', '"', '\\', '\'']) {
        return word.to_owned();
    }
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_words_together_and_may_be_escaped() {
        assert_eq!(words(r#"-m comment  --comment "a \"b\" c" -j X"#).unwrap()[3], r#"a "b" c"#);
        assert_eq!(words(r#"--comment "" -j"#).unwrap(), ["--comment", "", "-j"]);
        assert!(words(r#"--comment "a b"#).is_err());
        for word in ["", "plain", "two words", r#"a"b\c"#] {
            assert_eq!(words(&quote(word)).unwrap(), [word]);
        }
    }
}

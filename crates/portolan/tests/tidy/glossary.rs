//! Types are named in plain English and the words of the field, or in words that the glossary of ARCHITECTURE.md explains.

use std::collections::BTreeSet;
use std::fs;

/// Plain English words, and words of Kubernetes, netfilter, DNS and programming, that names of types may have.
const FIELD: &str = include_str!("field-words.txt");
/// What comes before the name of a type that is declared.
const DECLARATIONS: [&str; 4] = ["struct ", "enum ", "trait ", "type "];

/// The words of the names of the types that a source declares: `ServicePort` is `Service` and `Port`.
fn words(source: &str) -> impl Iterator<Item = String> + '_ {
    source.lines().filter_map(declared).flat_map(|name| {
        let mut words: Vec<String> = Vec::new();
        for letter in name.chars().filter(char::is_ascii_alphabetic) {
            match words.last_mut() {
                Some(word) if letter.is_lowercase() => word.push(letter),
                _ => words.push(letter.to_string()),
            }
        }
        words
    })
}

/// The name of the type that a line declares.
fn declared(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = match line.strip_prefix("pub") {
        Some(rest) => {
            rest.strip_prefix('(').map_or(rest, |rest| rest.split_once(')').map_or(rest, |(_, rest)| rest))
        }
        None => line,
    };
    let name = DECLARATIONS.iter().find_map(|word| line.trim_start().strip_prefix(word))?;
    let end = name.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(name.len());
    Some(&name[..end]).filter(|name| name.starts_with(|letter: char| letter.is_ascii_uppercase()))
}

/// The words that the glossary explains.
fn glossary() -> BTreeSet<String> {
    let text =
        fs::read_to_string(crate::root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md can be read");
    let section = text
        .split("## Glossary")
        .nth(1)
        .expect("a glossary")
        .split("\n## ")
        .next()
        .unwrap_or_default()
        .to_owned();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" |"));
    rows.map(|(word, _)| word.to_owned()).filter(|word| word != "word").collect()
}

#[test]
fn the_words_of_a_declared_type_are_found() {
    let found: Vec<_> =
        words("pub(crate) struct ServicePort<'a> {\n    type Err = A;\nlet x = 1;\n").collect();
    assert_eq!(found, ["Service", "Port", "Err"]);
}

#[test]
fn names_of_types_are_made_of_the_fields_words_or_of_those_in_the_glossary() {
    let (field, ours) = (FIELD.split_whitespace().map(str::to_owned).collect::<BTreeSet<_>>(), glossary());
    let sources = crate::sources()
        .into_iter()
        .filter(|(path, _)| path.components().any(|part| part.as_os_str() == "src"));
    let used: BTreeSet<String> = sources.flat_map(|(_, text)| words(&text).collect::<Vec<_>>()).collect();
    let unknown: Vec<_> =
        used.iter().filter(|word| !field.contains(*word) && !ours.contains(*word)).collect();
    assert!(unknown.is_empty(), "is there a field word for {unknown:?}? Else explain it in the glossary");
    let unused: Vec<_> = ours.iter().filter(|word| !used.contains(*word)).collect();
    assert!(unused.is_empty(), "the glossary explains {unused:?}, which no type is called");
}

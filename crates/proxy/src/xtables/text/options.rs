//! Options of a rule: one table says how many words each takes.

/// One option of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Opt {
    /// Whether a `!` stands before it.
    pub not: bool,
    /// Its name: the short one of those that have two.
    pub name: String,
    /// Its values.
    pub values: Vec<String>,
}

/// Other names of options, and the names we call them by.
const ALIASES: [(&str, &str); 17] = [
    ("--source", "-s"),
    ("--src", "-s"),
    ("--destination", "-d"),
    ("--dst", "-d"),
    ("--in-interface", "-i"),
    ("--out-interface", "-o"),
    ("--protocol", "-p"),
    ("--proto", "-p"),
    ("--match", "-m"),
    ("--jump", "-j"),
    ("--goto", "-g"),
    ("--fragment", "-f"),
    ("--destination-port", "--dport"),
    ("--source-port", "--sport"),
    ("--state", "--ctstate"),
    ("--to-port", "--to-ports"),
    ("--random-full", "--random-fully"),
];

/// Options that take another number of values than one. What is not named here takes one, and none if another
/// option follows at once.
const VALUES: [(&str, usize); 7] = [
    ("--match-set", 2),
    ("--set", 0),
    ("--rcheck", 0),
    ("--reap", 0),
    ("--rsource", 0),
    ("--random-fully", 0),
    ("-f", 0),
];

/// The options that these words are.
pub(super) fn options(words: &[String]) -> Vec<Opt> {
    let mut options = Vec::new();
    let mut not = false;
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        if word == "!" {
            not = true;
            continue;
        }
        let name = ALIASES.iter().find(|(other, _)| other == word).map_or(word.as_str(), |(_, name)| name);
        let count = VALUES.iter().find(|(known, _)| *known == name).map(|(_, count)| *count);
        let mut values = Vec::new();
        while values.len() < count.unwrap_or(1) {
            match words.peek() {
                // `--mark ! 1` is an old way of writing `! --mark 1`.
                Some(next) if *next == "!" && count.is_none() && values.is_empty() && takes_not(name) => {
                    not = true;
                    words.next();
                }
                Some(next) if !next.starts_with("--") && *next != "!" && !is_short_option(next) => {
                    values.extend(words.next().cloned());
                }
                // A comment may look like an option.
                Some(_) if name == "--comment" => values.extend(words.next().cloned()),
                _ => break,
            }
        }
        options.push(Opt { not: std::mem::take(&mut not), name: name.to_owned(), values });
    }
    options
}

fn is_short_option(word: &str) -> bool {
    word.len() == 2 && word.starts_with('-') && word.ends_with(|letter: char| letter.is_ascii_lowercase())
}

/// Whether a `!` behind the name is meant for it and not for the next option: it has a value behind that.
fn takes_not(name: &str) -> bool {
    matches!(name, "-s" | "-d" | "-i" | "-o" | "-p" | "--mark" | "--dport" | "--sport" | "--ctstate")
}

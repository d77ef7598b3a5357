//! Rust source as words and signs, without comments, texts and the code of tests: as much as imports need.

/// A word or a sign of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// A name or a keyword.
    Word(String),
    /// `::`.
    Path,
    /// Any other sign.
    Sign(char),
}

impl Token {
    /// The name, if it is one.
    pub(crate) fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            Self::Path | Self::Sign(_) => None,
        }
    }
}

/// The tokens of a source, without what is compiled for tests only.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    without_tests(all_tokens(source))
}

fn all_tokens(source: &str) -> Vec<Token> {
    let (mut found, mut rest) = (Vec::new(), source);
    while let Some(letter) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = text(rest) {
            length
        } else if letter == '_' || letter.is_alphanumeric() {
            let end = rest.find(|letter: char| letter != '_' && !letter.is_alphanumeric());
            let word = &rest[..end.unwrap_or(rest.len())];
            found.push(Token::Word(word.to_owned()));
            word.len()
        } else if rest.starts_with("::") {
            found.push(Token::Path);
            2
        } else {
            if !letter.is_whitespace() {
                found.push(Token::Sign(letter));
            }
            letter.len_utf8()
        };
        rest = &rest[length..];
    }
    found
}

/// The length of a comment in `/* */`, which may hold others.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of the text or the letter in quotes that begins here, if one does. A lifetime is none.
fn text(rest: &str) -> Option<usize> {
    let prefix =
        rest.find(|letter: char| !matches!(letter, 'b' | 'c' | 'r')).filter(|length| *length <= 2)?;
    let quoted = &rest[prefix..];
    let hashes = quoted.len() - quoted.trim_start_matches('#').len();
    if rest[..prefix].ends_with('r') && quoted[hashes..].starts_with('"') {
        let end = format!("\"{}", "#".repeat(hashes));
        let content = &quoted[hashes + 1..];
        return Some(prefix + hashes + 1 + content.find(&end).map_or(content.len(), |at| at + end.len()));
    }
    let quote = quoted.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let mut letters = quoted.char_indices().skip(1);
    let mut count = 0;
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => _ = letters.next(),
            letter if letter == quote => return Some(prefix + at + 1),
            _ => {}
        }
        count += 1;
        if quote == '\''
            && count == 1
            && !quoted[at + letter.len_utf8()..].starts_with(['\''])
            && letter != '\\'
        {
            return None;
        }
    }
    None
}

/// Leaves out each item behind `#[cfg(test)]`.
fn without_tests(all: Vec<Token>) -> Vec<Token> {
    let word = |text: &str| Token::Word(text.to_owned());
    let mark = [
        Token::Sign('#'),
        Token::Sign('['),
        word("cfg"),
        Token::Sign('('),
        word("test"),
        Token::Sign(')'),
        Token::Sign(']'),
    ];
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < all.len() {
        if all[at..].starts_with(&mark) {
            at = end_of_item(&all, at + mark.len());
        } else {
            kept.push(all[at].clone());
            at += 1;
        }
    }
    kept
}

/// The place behind an item: behind its first semicolon or its first braces.
fn end_of_item(all: &[Token], begin: usize) -> usize {
    let mut depth = 0_i32;
    for (at, token) in all.iter().enumerate().skip(begin) {
        match token {
            Token::Sign('{' | '(' | '[') => depth += 1,
            Token::Sign(close @ ('}' | ')' | ']')) => {
                depth -= 1;
                if depth == 0 && *close == '}' {
                    return at + 1;
                }
            }
            Token::Sign(';') if depth == 0 => return at + 1,
            _ => {}
        }
    }
    all.len()
}

#[test]
fn only_words_and_signs_of_code_are_left() {
    let source = "use a::b; // use c;\n/* /* */ d */ 'e'; fn f<'g>() { \"h\\\"\"; br#\"i\"#; '\\'' }\n\
                  #[cfg(test)]\nmod tests { use j; { } }\nk";
    let words: Vec<_> = tokens(source).iter().filter_map(Token::word).map(str::to_owned).collect();
    assert_eq!(words, ["use", "a", "b", "fn", "f", "g", "k"]);
}

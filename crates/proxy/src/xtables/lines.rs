//! Rules as text, one a line.

use std::fmt::{Display, Write};

/// Lines of rules, each ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Lines {
    text: String,
    count: usize,
}

impl Lines {
    /// Appends a rule to a chain.
    pub(crate) fn append(&mut self, chain: impl Display, arguments: impl Display) {
        self.line(format_args!("-A {chain} {arguments}"));
    }

    /// Adds a line as it stands.
    pub(crate) fn line(&mut self, line: impl Display) {
        // Writing to a String does not fail.
        let _ = writeln!(self.text, "{line}");
        self.count += 1;
    }

    /// Adds the lines of another.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.text.push_str(&other.text);
        self.count += other.count;
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// How many lines there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }
}

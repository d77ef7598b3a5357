//! What is wrong with a Corefile, and where.

/// An error in a Corefile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text}")]
pub struct Fault {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong on the line, and what would be right.
    pub text: String,
}

impl Fault {
    pub(crate) fn new(line: usize, text: impl Into<String>) -> Self {
        Self { line, text: text.into() }
    }
}

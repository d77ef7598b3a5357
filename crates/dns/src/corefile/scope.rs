//! What a directive is read in: the folder of the Corefile and the server block around it.

use std::path::Path;

use super::{Directive, Fault};
use crate::wire::Name;

/// The surroundings of a directive.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    /// The folder that paths of files are relative to.
    pub(crate) folder: &'a Path,
    /// The zones of the server block.
    pub(crate) zones: &'a [Name],
    /// Texts about directives and options that were read and have no effect.
    pub(crate) warnings: &'a mut Vec<String>,
}

impl Scope<'_> {
    /// The zones that arguments name; without arguments, the zones of the server block.
    pub(crate) fn zones_or_own(&self, directive: &Directive, texts: &[String]) -> Result<Vec<Name>, Fault> {
        if texts.is_empty() { Ok(self.zones.to_vec()) } else { directive.zones(texts) }
    }

    /// Adds a warning about a line.
    pub(crate) fn warn(&mut self, line: usize, text: &str) {
        self.warnings.push(format!("line {line}: {text}"));
    }
}

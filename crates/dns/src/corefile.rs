//! Reading a Corefile.

mod argument;
mod cluster;
mod directives;
mod key;
mod lex;
mod outside;
mod rules;
mod syntax;

use std::path::Path;

use crate::config::{Block, Config, Plugins};
use directives::{DIRECTIVES, Read};

/// A Corefile cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text}")]
pub struct Fault {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there, and what would be right.
    pub text: String,
}

impl Fault {
    fn new(line: usize, text: impl Into<String>) -> Self {
        Self { line, text: text.into() }
    }
}

impl Config {
    /// What a Corefile says. Imports and files are relative to `folder`.
    ///
    /// # Errors
    /// [`Fault`] with the line, for what cannot be read, is not known here, or cannot be true together.
    pub fn from_corefile(text: &str, folder: &Path) -> Result<Self, Fault> {
        let (blocks, text) = syntax::blocks(text, folder, &|name| std::env::var(name).ok())?;
        let mut config = Self { blocks: Vec::new(), text, warnings: Vec::new() };
        for block in blocks {
            let mut served = Vec::new();
            for text in &block.keys {
                served.extend(key::served(text).map_err(|text| Fault::new(block.line, text))?);
            }
            if served.is_empty() {
                return Err(Fault::new(block.line, "the block has no zone; begin with `.:53 {`"));
            }
            let zones: Vec<_> = served.iter().map(|served| served.zone.clone()).collect();
            let mut read = Read {
                folder,
                zones: &zones,
                plugins: Plugins::default(),
                bind: Vec::new(),
                warnings: &mut config.warnings,
            };
            for directive in &block.directives {
                let Some((_, take)) = DIRECTIVES.iter().find(|(name, _)| *name == directive.name) else {
                    return Err(directives::unknown(directive));
                };
                take(directive, &mut read)?;
            }
            let Read { plugins, bind, .. } = read;
            let block = Block { line: block.line, served, bind, plugins };
            check(&block)?;
            config.blocks.push(block);
        }
        if config.blocks.is_empty() {
            return Err(Fault::new(1, "there is no server block; begin with `.:53 {`"));
        }
        together(&config.blocks)?;
        Ok(config)
    }
}

/// What must hold inside one block.
fn check(block: &Block) -> Result<(), Fault> {
    let secure = block.served.iter().find(|served| served.listen != crate::config::Listen::Dns);
    if let (Some(served), None) = (secure, &block.plugins.tls) {
        let scheme = served.listen.scheme();
        let text = format!("{scheme}:// needs a certificate; add `tls CERT KEY` to the block");
        return Err(Fault::new(block.line, text));
    }
    Ok(())
}

/// What must hold between blocks: a zone of a port belongs to one of them.
fn together(blocks: &[Block]) -> Result<(), Fault> {
    for (index, block) in blocks.iter().enumerate() {
        for served in &block.served {
            let same = |other: &&Block| {
                let addresses = other.bind.iter().any(|address| block.bind.contains(address));
                other.served.contains(served)
                    && (addresses || (other.bind.is_empty() && block.bind.is_empty()))
            };
            if let Some(other) = blocks[..index].iter().find(same) {
                let text = format!(
                    "{}://{}:{} is already served by the block of line {}; give it another zone, port or `bind`",
                    served.listen.scheme(),
                    served.zone,
                    served.port,
                    other.line
                );
                return Err(Fault::new(block.line, text));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! Reading `iptables-save` output and what `iptables-restore` reads.

use std::str::FromStr;

use thiserror::Error;

use super::{Rule, Tables};

/// A text that is no dump of tables.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line} of the iptables dump, {text:?}, {why}; give it what iptables-save prints")]
pub struct BadDump {
    /// The line, counted from 1.
    pub line: usize,
    /// What it says.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Tables {
    /// Reads a dump. Counters, comments and table ends say nothing here; `-I` puts a rule first and `-X` takes
    /// a chain away, as they do when the text is loaded.
    ///
    /// # Errors
    /// [`BadDump`] names the first line that cannot be read.
    pub fn parse(text: &str) -> Result<Self, BadDump> {
        let mut tables = Self::new();
        let mut current: Option<String> = None;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            let bad = |why| BadDump { line: number + 1, text: line.to_owned(), why };
            if line.is_empty() || line.starts_with('#') || line == "COMMIT" {
                continue;
            }
            if let Some(name) = line.strip_prefix('*') {
                tables.table_mut(name);
                current = Some(name.to_owned());
                continue;
            }
            let table = current.as_deref().ok_or_else(|| bad("stands before any table"))?;
            let table = tables.table_mut(table);
            if let Some(declared) = line.strip_prefix(':') {
                let mut words = declared.split(' ');
                let name = words.next().unwrap_or_default();
                let policy = words.next().ok_or_else(|| bad("declares a chain without its policy"))?;
                table.chain_mut(name).policy = (policy != "-").then(|| policy.to_owned());
                continue;
            }
            let (command, rest) =
                without_counters(line).split_once(' ').ok_or_else(|| bad("is no command"))?;
            let (chain, arguments) = rest.split_once(' ').unwrap_or((rest, ""));
            match command {
                "-A" => table.chain_mut(chain).rules.push(Rule::new(arguments)),
                "-I" => table.chain_mut(chain).rules.insert(0, Rule::new(arguments)),
                "-X" => table.remove(chain),
                _ => return Err(bad("is no rule")),
            }
        }
        Ok(tables)
    }
}

/// `[packets:bytes] ` before a rule is what `iptables-save -c` adds.
fn without_counters(line: &str) -> &str {
    match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((_, rule)) => rule,
        None => line,
    }
}

impl FromStr for Tables {
    type Err = BadDump;

    fn from_str(text: &str) -> Result<Self, BadDump> {
        Self::parse(text)
    }
}

//! The modules of a crate, and which of its files each file needs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::tokens::{Token, tokens};

/// How many re-exports are followed from a name to where it is defined.
const LONGEST_CHAIN: usize = 16;
/// The keywords before the name of an item.
const ITEMS: [&str; 9] = ["fn", "struct", "enum", "union", "trait", "type", "const", "static", "macro_rules"];

/// The path of a module from the root of its crate.
type ModulePath = Vec<String>;

/// A module: a file, or braces in one.
#[derive(Debug, Default)]
struct Module {
    file: PathBuf,
    /// The names defined in it.
    items: BTreeSet<String>,
    /// The names that it imports or exports again, with their full paths.
    imports: Vec<Import>,
    /// All other paths that it names, as they are written.
    paths: BTreeSet<Vec<String>>,
    /// The words outside of its imports.
    words: BTreeSet<String>,
}

/// One name of a `use`.
#[derive(Debug)]
struct Import {
    /// The name here; `*` for all of a module.
    name: String,
    path: Vec<String>,
    /// Whether others see it here too.
    exported: bool,
}

/// The modules of a crate.
#[derive(Debug, Default)]
pub(crate) struct Modules(BTreeMap<ModulePath, Module>);

impl Modules {
    /// The modules of the sources of a crate, given by their paths below `src`.
    pub(crate) fn of<'a>(sources: impl IntoIterator<Item = (&'a Path, &'a str)>) -> Self {
        let mut modules = Self::default();
        for (file, source) in sources {
            let mut path: ModulePath =
                file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
            if matches!(path.last().map(String::as_str), Some("lib" | "main")) {
                path.pop();
            }
            modules.read(file, path, &tokens(source));
        }
        modules.forget_files_of_tests();
        modules
    }

    /// Reads a module and those in its braces.
    fn read(&mut self, file: &Path, path: ModulePath, tokens: &[Token]) {
        let mut module = Module { file: file.to_owned(), ..Module::default() };
        let mut at = 0;
        while at < tokens.len() {
            let word = tokens[at].word().unwrap_or_default();
            let next = tokens.get(at + 1).and_then(Token::word);
            match (word, next) {
                // The path of `pub(in path)` names who may see an item, not what it needs.
                ("pub", _) if tokens.get(at + 1) == Some(&Token::Sign('(')) => {
                    let end = tokens[at..].iter().position(|token| *token == Token::Sign(')'));
                    at += end.unwrap_or_default();
                }
                ("use", _) => {
                    let end = tokens[at..].iter().position(|token| *token == Token::Sign(';'));
                    let end = end.map_or(tokens.len(), |length| at + length);
                    let before = at.checked_sub(1).map(|before| &tokens[before]);
                    let exported =
                        before.is_some_and(|token| *token == Token::Sign(')') || token.word() == Some("pub"));
                    let mut rest = &tokens[at + 1..end];
                    import(&mut rest, Vec::new(), exported, &mut module.imports);
                    at = end;
                }
                ("mod", Some(name)) => {
                    let inner = [&path[..], &[name.to_owned()]].concat();
                    if tokens.get(at + 2) == Some(&Token::Sign('{')) {
                        let end = at + 2 + closing(&tokens[at + 2..]);
                        self.read(file, inner, &tokens[at + 3..end]);
                        at = end;
                    } else {
                        module.items.insert(name.to_owned());
                        at += 2;
                    }
                }
                (item, Some(name)) if ITEMS.contains(&item) => {
                    module.items.insert(name.to_owned());
                }
                _ => {}
            }
            at += module.path_at(tokens, at);
        }
        self.0.insert(path, module);
    }

    /// Forgets the files that no `mod` outside of tests names: those are compiled for tests only.
    fn forget_files_of_tests(&mut self) {
        let is_named = |modules: &BTreeMap<ModulePath, Module>, path: &ModulePath| {
            (0..path.len()).all(|length| {
                let parent = modules.get(&path[..length]);
                let inside = modules.get(&path[..=length]);
                parent.is_some_and(|parent| {
                    parent.items.contains(&path[length])
                        || inside.is_some_and(|inside| inside.file == parent.file)
                })
            })
        };
        let kept: BTreeSet<_> = self.0.keys().filter(|path| is_named(&self.0, path)).cloned().collect();
        self.0.retain(|path, _| kept.contains(path));
    }

    /// Which files each file needs: those that define what it names. A file that only exports a name again needs
    /// nothing for that.
    pub(crate) fn needs(&self) -> BTreeMap<PathBuf, BTreeSet<PathBuf>> {
        let mut needs: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
        for (path, module) in &self.0 {
            let used = module.imports.iter().filter(|import| {
                !import.exported || import.name != "*" && module.words.contains(&import.name)
            });
            let named = used.map(|import| &import.path).chain(&module.paths);
            let found = named.filter_map(|named| self.file_of(path, named, LONGEST_CHAIN));
            let found = found.filter(|file| **file != module.file).cloned();
            needs.entry(module.file.clone()).or_default().extend(found);
        }
        needs
    }

    /// The file that defines what a path in a module names; `None` if it is of another crate.
    fn file_of(&self, here: &[String], named: &[String], steps: usize) -> Option<&PathBuf> {
        let steps = steps.checked_sub(1)?;
        let (mut at, mut rest) = (here.to_vec(), named);
        let mut rooted = false;
        while let Some(first) = rest.first() {
            match first.as_str() {
                "crate" => at.clear(),
                "super" => _ = at.pop(),
                "self" => {}
                _ => break,
            }
            (rooted, rest) = (true, &rest[1..]);
        }
        while let Some(name) = rest.first() {
            let inner = [&at[..], std::slice::from_ref(name)].concat();
            if self.0.contains_key(&inner) {
                (at, rest, rooted) = (inner, &rest[1..], true);
                continue;
            }
            let module = self.0.get(&at)?;
            if module.items.contains(name) {
                return Some(&module.file);
            }
            let import = module.imports.iter().find(|import| import.name == *name && import.path != rest);
            if let Some(import) = import {
                let path = [&import.path[..], &rest[1..]].concat();
                return self.file_of(&at, &path, steps);
            }
            let globs = module.imports.iter().filter(|import| import.name == "*" && import.exported);
            let behind = globs.filter_map(|import| {
                self.file_of(&at, &[&import.path[..], std::slice::from_ref(name)].concat(), steps)
            });
            let behind = behind.into_iter().next();
            return behind.or_else(|| rooted.then_some(&module.file));
        }
        rooted.then(|| self.0.get(&at).map(|module| &module.file))?
    }
}

impl Module {
    /// Notes the word or the path that stands at a place; returns how many tokens it has, at least one.
    fn path_at(&mut self, tokens: &[Token], at: usize) -> usize {
        let Some(first) = tokens.get(at).and_then(Token::word) else { return 1 };
        let mut path = vec![first.to_owned()];
        let mut end = at + 1;
        while let (Some(Token::Path), Some(Token::Word(next))) = (tokens.get(end), tokens.get(end + 1)) {
            path.push(next.clone());
            end += 2;
        }
        self.words.insert(path[0].clone());
        if path.len() > 1 && at.checked_sub(1).is_none_or(|before| tokens[before] != Token::Path) {
            self.paths.insert(path);
        }
        end - at
    }
}

/// Reads one tree of a `use` behind a prefix.
fn import(tokens: &mut &[Token], mut prefix: Vec<String>, exported: bool, found: &mut Vec<Import>) {
    while let [first, rest @ ..] = *tokens {
        *tokens = rest;
        match first {
            Token::Word(word) if word == "as" => {
                let name = tokens.first().and_then(Token::word).unwrap_or_default().to_owned();
                *tokens = tokens.get(1..).unwrap_or_default();
                found.push(Import { name, path: prefix, exported });
                return;
            }
            Token::Word(word) => prefix.push(word.clone()),
            Token::Path => {}
            Token::Sign('*') => {
                found.push(Import { name: "*".to_owned(), path: prefix, exported });
                return;
            }
            Token::Sign('{') => {
                while !matches!(tokens.first(), None | Some(Token::Sign('}'))) {
                    import(tokens, prefix.clone(), exported, found);
                    if tokens.first() == Some(&Token::Sign(',')) {
                        *tokens = &tokens[1..];
                    }
                }
                *tokens = tokens.get(1..).unwrap_or_default();
                return;
            }
            Token::Sign(_) => {
                // The end of this tree is that of its neighbours to see.
                break;
            }
        }
        if matches!(tokens.first(), None | Some(Token::Sign(',' | '}'))) {
            break;
        }
    }
    if prefix.len() > 1 && prefix.last().is_some_and(|last| last == "self") {
        prefix.pop();
    }
    if let Some(name) = prefix.last().cloned() {
        found.push(Import { name, path: prefix, exported });
    }
}

/// The place of the brace that closes the first one.
fn closing(tokens: &[Token]) -> usize {
    let mut depth = 0_usize;
    let end = tokens.iter().position(|token| {
        match token {
            Token::Sign('{') => depth += 1,
            Token::Sign('}') => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    end.unwrap_or(tokens.len() - 1)
}

#[test]
fn a_name_leads_to_the_file_that_defines_it() {
    let sources = [
        ("lib.rs", "mod a; mod b; pub use a::Deep as Other; #[cfg(test)] mod checks;"),
        ("a.rs", "mod deep; pub use deep::{self, Deep}; pub struct Own;"),
        (
            "a/deep.rs",
            "use super::Own; pub(in crate::b) struct Deep(Own); pub mod inner { pub use super::super::Own; }",
        ),
        ("b.rs", "use crate::a::{Deep, deep::inner}; use std::fmt; fn f(_: crate::Other) { inner::x(); }"),
        ("checks.rs", "use crate::b;"),
    ];
    let modules = Modules::of(sources.map(|(path, source)| (Path::new(path), source)));
    let needs = modules.needs();
    let of = |file: &str| -> Vec<String> {
        needs[Path::new(file)].iter().map(|file| file.display().to_string()).collect()
    };
    assert_eq!(of("b.rs"), ["a/deep.rs"]);
    assert_eq!(of("a/deep.rs"), ["a.rs"]);
    assert_eq!((of("a.rs").len(), of("lib.rs").len()), (0, 0), "to export is not to need");
    assert!(!needs.contains_key(Path::new("checks.rs")), "a file of tests");
}

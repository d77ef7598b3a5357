//! Grouping words into server blocks and directives. Snippets and imported files are inserted where they are imported.

use std::collections::HashMap;
use std::path::Path;

use super::fault::Fault;
use super::lex::{Word, words};

/// The most imports inside each other. Files that import each other are noticed by it.
const DEEPEST_IMPORT: usize = 8;
/// The most braces inside each other in a server block. Directives need one, so a greater depth means that a brace is
/// not closed.
const DEEPEST_OPTION: usize = 4;

/// A server block as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// The line that it begins on, counted from 1.
    pub(crate) line: usize,
    /// Its keys: the words before its brace.
    pub(crate) keys: Vec<String>,
    /// Its directives, in order.
    pub(crate) directives: Vec<Directive>,
}

/// A directive, or an option in the braces of a directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directive {
    /// The line that it begins on, counted from 1.
    pub(crate) line: usize,
    /// The first word.
    pub(crate) name: String,
    /// The other words on its line.
    pub(crate) arguments: Vec<String>,
    /// What stands in its braces.
    pub(crate) options: Vec<Directive>,
}

/// Reads the server blocks of a text. Returns them with everything that was read: the text and the files that it
/// imports. Imported files are relative to `folder`; `variable` gives the variables of the environment.
pub(crate) fn blocks(
    text: &str,
    folder: &Path,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<(Vec<Block>, String), Fault> {
    let words = words(text, variable)?;
    let mut reader =
        Reader { words, next: 0, snippets: HashMap::new(), folder, variable, read: text.to_owned() };
    let blocks = reader.blocks(0)?;
    Ok((blocks, reader.read))
}

struct Reader<'a> {
    words: Vec<Word>,
    next: usize,
    snippets: HashMap<String, Vec<Directive>>,
    folder: &'a Path,
    variable: &'a dyn Fn(&str) -> Option<String>,
    /// The texts of all files that were read, one after the other.
    read: String,
}

impl Reader<'_> {
    /// Reads server blocks up to the end of a file that is `depth` imports deep. Snippets are kept until they are
    /// imported.
    fn blocks(&mut self, depth: usize) -> Result<Vec<Block>, Fault> {
        let mut blocks = Vec::new();
        while let Some(word) = self.peek().cloned() {
            if !word.quoted && word.text == "import" {
                self.next += 1;
                let arguments = self.rest_of_line(word.line);
                let imported = self.files(&word, arguments.first(), depth, Self::blocks)?;
                blocks.extend(imported.into_iter().map(|block| block.at(word.line)));
                continue;
            }
            let block = self.block()?;
            match block.keys.as_slice() {
                [name] if is_snippet(name) => self.keep(name, block.directives),
                _ => blocks.push(block),
            }
        }
        Ok(blocks)
    }

    fn keep(&mut self, name: &str, directives: Vec<Directive>) {
        self.snippets.insert(name[1..name.len() - 1].to_owned(), directives);
    }

    fn peek(&self) -> Option<&Word> {
        self.words.get(self.next)
    }

    /// Reads the remaining words of a line, up to a brace.
    fn rest_of_line(&mut self, line: usize) -> Vec<String> {
        let mut rest = Vec::new();
        while let Some(word) = self.peek().filter(|word| word.line == line && !word.is("{") && !word.is("}"))
        {
            rest.push(word.text.clone());
            self.next += 1;
        }
        rest
    }

    /// Reads a server block. A block without braces has all directives of the rest of the file.
    fn block(&mut self) -> Result<Block, Fault> {
        let line = self.peek().map_or(1, |word| word.line);
        let mut keys = Vec::new();
        let mut last = line;
        while let Some(word) = self.peek().filter(|word| !word.is("{")) {
            if word.is("}") {
                return Err(Fault::new(word.line, "this brace closes nothing; remove it"));
            }
            // Keys continue on the next line only after a comma.
            if word.line != last && !keys.last().is_some_and(|key: &String| key.ends_with(',')) {
                break;
            }
            last = word.line;
            keys.push(word.text.clone());
            self.next += 1;
        }
        let keys = keys.iter().flat_map(|key| key.split(',')).filter(|key| !key.is_empty());
        let keys = keys.map(str::to_owned).collect();
        let braced = self.peek().is_some_and(|word| word.is("{"));
        self.next += usize::from(braced);
        let directives = self.directives(braced.then_some(line), 0)?;
        Ok(Block { line, keys, directives })
    }

    /// Reads directives up to the brace that closes the one on the line `opened`, or up to the end of the file.
    fn directives(&mut self, opened: Option<usize>, depth: usize) -> Result<Vec<Directive>, Fault> {
        let mut directives = Vec::new();
        loop {
            let Some(word) = self.peek().cloned() else {
                return match opened {
                    Some(line) => Err(Fault::new(line, "what is opened here is not closed; add a }")),
                    None => Ok(directives),
                };
            };
            self.next += 1;
            if word.is("}") {
                return match opened {
                    Some(_) => Ok(directives),
                    None => Err(Fault::new(word.line, "this brace closes nothing; remove it")),
                };
            }
            if word.is("{") {
                return Err(Fault::new(word.line, "a brace opens here, but no directive stands before it"));
            }
            if !word.quoted && word.text == "import" && depth == 0 {
                let arguments = self.rest_of_line(word.line);
                directives.extend(self.import(&word, &arguments, 0)?);
            } else {
                directives.push(self.directive(word, depth)?);
            }
        }
    }

    /// Reads the arguments and options of a directive.
    fn directive(&mut self, name: Word, depth: usize) -> Result<Directive, Fault> {
        let arguments = self.rest_of_line(name.line);
        let braced = self.peek().is_some_and(|next| next.line == name.line && next.is("{"));
        if braced && depth == DEEPEST_OPTION {
            return Err(Fault::new(name.line, "braces lead too deep; is one not closed above?"));
        }
        self.next += usize::from(braced);
        let options = if braced { self.directives(Some(name.line), depth + 1)? } else { Vec::new() };
        Ok(Directive { line: name.line, name: name.text, arguments, options })
    }

    /// Reads an import inside a server block: the directives of a snippet, or of files.
    fn import(&mut self, word: &Word, arguments: &[String], depth: usize) -> Result<Vec<Directive>, Fault> {
        let given = arguments.get(1..).unwrap_or_default();
        if let Some(snippet) = arguments.first().and_then(|name| self.snippets.get(name)) {
            return Ok(snippet.iter().map(|directive| directive.with(given)).collect());
        }
        let imported = self.files(word, arguments.first(), depth, Self::imported)?;
        Ok(imported.iter().map(|directive| directive.with(given).at(word.line)).collect())
    }

    /// Reads the files that match the pattern of an import, one after the other. They may contain snippets too.
    fn files<T>(
        &mut self,
        word: &Word,
        pattern: Option<&String>,
        depth: usize,
        read: fn(&mut Self, usize) -> Result<Vec<T>, Fault>,
    ) -> Result<Vec<T>, Fault> {
        let Some(pattern) = pattern else {
            return Err(Fault::new(word.line, "import needs the name of a snippet or a file"));
        };
        if depth == DEEPEST_IMPORT {
            return Err(Fault::new(word.line, "imports lead too deep; do they go in a circle?"));
        }
        let paths = matching(&self.folder.join(pattern))
            .map_err(|error| Fault::new(word.line, format!("{pattern} cannot be imported: {error}")))?;
        let mut all = Vec::new();
        for path in paths {
            let text = std::fs::read_to_string(&path).map_err(|error| {
                Fault::new(word.line, format!("{} cannot be imported: {error}", path.display()))
            })?;
            self.read += &text;
            let inside = |fault: Fault| {
                Fault::new(word.line, format!("in {}, line {}: {}", path.display(), fault.line, fault.text))
            };
            let words = words(&text, self.variable).map_err(inside)?;
            let outer = (std::mem::replace(&mut self.words, words), std::mem::take(&mut self.next));
            let found = read(self, depth + 1);
            (self.words, self.next) = outer;
            all.extend(found.map_err(inside)?);
        }
        Ok(all)
    }

    /// Reads a file that was imported inside a server block. It has directives and snippets.
    fn imported(&mut self, depth: usize) -> Result<Vec<Directive>, Fault> {
        let mut directives = Vec::new();
        while let Some(word) = self.peek().cloned() {
            if is_snippet(&word.text) {
                let block = self.block()?;
                self.keep(&word.text, block.directives);
            } else if word.text == "import" {
                self.next += 1;
                let arguments = self.rest_of_line(word.line);
                directives.extend(self.import(&word, &arguments, depth)?);
            } else {
                self.next += 1;
                directives.push(self.directive(word, 0)?);
            }
        }
        Ok(directives)
    }
}

/// Whether a key makes its block a snippet, as `(name)` does.
fn is_snippet(key: &str) -> bool {
    key.len() > 2 && key.starts_with('(') && key.ends_with(')')
}

impl Block {
    /// The block with all lines set to that of the import: faults name lines of the Corefile.
    fn at(mut self, line: usize) -> Self {
        self.line = line;
        self.directives = self.directives.into_iter().map(|directive| directive.at(line)).collect();
        self
    }
}

impl Directive {
    /// The directive with all lines set to that of the import.
    fn at(mut self, line: usize) -> Self {
        self.line = line;
        self.options = self.options.into_iter().map(|option| option.at(line)).collect();
        self
    }

    /// The directive with `{args[0]}` and so on replaced by the arguments of the import.
    fn with(&self, given: &[String]) -> Self {
        let fill = |text: &String| {
            given
                .iter()
                .enumerate()
                .fold(text.clone(), |text, (index, value)| text.replace(&format!("{{args[{index}]}}"), value))
        };
        Self {
            line: self.line,
            name: fill(&self.name),
            arguments: self.arguments.iter().map(fill).collect(),
            options: self.options.iter().map(|option| option.with(given)).collect(),
        }
    }
}

/// The files that match a path, in order. Its last part may have one `*`; without one the file must exist.
fn matching(pattern: &Path) -> std::io::Result<Vec<std::path::PathBuf>> {
    let name = pattern.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some((start, end)) = name.split_once('*') else {
        return std::fs::metadata(pattern).map(|_| vec![pattern.to_owned()]);
    };
    let Some(folder) = pattern.parent().filter(|folder| folder.is_dir()) else { return Ok(Vec::new()) };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let fits = name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end);
        if fits && entry.path().is_file() && !name.starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Block>, Fault> {
        blocks(text, Path::new("/nonexistent"), &|_| None).map(|(blocks, _)| blocks)
    }

    fn names(directives: &[Directive]) -> Vec<&str> {
        directives.iter().map(|directive| &*directive.name).collect()
    }

    #[test]
    fn a_block_has_keys_and_directives_and_a_directive_has_options() {
        let blocks = read("a:53, b\nc {\n errors\n cache 30 {\n  disable success x\n }\n}\nd {\n}").unwrap();
        assert_eq!(blocks[0].keys, ["a:53", "b"]);
        let blocks = read("a:53 b {\n errors\n cache 30 {\n  disable success x\n }\n}\nd {\n}").unwrap();
        assert_eq!((blocks.len(), &blocks[0].keys[..]), (2, &["a:53".to_owned(), "b".to_owned()][..]));
        assert_eq!(names(&blocks[0].directives), ["errors", "cache"]);
        let cache = &blocks[0].directives[1];
        assert_eq!(
            (&cache.arguments[..], &cache.options[0].arguments[..]),
            (&["30".into()][..], &["success".into(), "x".into()][..])
        );
    }

    #[test]
    fn options_may_stand_on_the_line_of_their_directive() {
        let blocks = read(".:53 {\n health { lameduck 5s }\n ready\n}").unwrap();
        assert_eq!(names(&blocks[0].directives), ["health", "ready"]);
        assert_eq!(blocks[0].directives[0].options[0].arguments, ["5s"]);
    }

    #[test]
    fn snippets_are_inserted_where_they_are_imported() {
        let blocks =
            read("(common) {\n log\n forward {args[0]}\n}\n. {\n import common example.org\n errors\n}")
                .unwrap();
        assert_eq!(names(&blocks[0].directives), ["log", "forward", "errors"]);
        assert_eq!(blocks[0].directives[1].arguments, ["example.org"]);
    }

    #[test]
    fn files_are_inserted_where_they_are_imported() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("b.override"), "log").unwrap();
        std::fs::write(
            folder.path().join("a.override"),
            "(s) {\n errors\n}\nhealth {\n lameduck 1s\n}\nimport s",
        )
        .unwrap();
        let text = ". {\n import *.override\n import none/*.server\n}";
        let (blocks, read) = blocks(text, folder.path(), &|_| None).unwrap();
        assert!(read.contains("lameduck"), "the text of an imported file was read");
        assert_eq!(names(&blocks[0].directives), ["health", "errors", "log"]);
        let missing = super::blocks(". {\n\n import nothing\n}", folder.path(), &|_| None).unwrap_err();
        assert_eq!(missing.line, 3);
    }

    #[test]
    fn imported_files_may_have_server_blocks_and_their_lines_are_that_of_the_import() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("b.server"),
            "\n\nb.example:53 {\n import common\n cache {\n  x\n }\n}",
        )
        .unwrap();
        std::fs::write(folder.path().join("a.server"), "(common) {\n errors\n}\na.example {\n log\n}")
            .unwrap();
        let text = ". {\n ready\n}\nimport *.server";
        let (blocks, _) = blocks(text, folder.path(), &|_| None).unwrap();
        let keys: Vec<_> = blocks.iter().map(|block| &*block.keys[0]).collect();
        assert_eq!(keys, [".", "a.example", "b.example:53"]);
        assert_eq!(names(&blocks[2].directives), ["errors", "cache"]);
        assert_eq!((blocks[2].line, blocks[2].directives[1].options[0].line), (4, 4));
    }

    #[test]
    fn braces_that_do_not_match_are_reported_with_their_line() {
        for (text, line) in [
            (". {\n errors\n", 1),
            (". {\n}\n}", 3),
            (". {\n cache {\n", 2),
            (". {\n {\n}\n}", 2),
            (&*". {\n".repeat(1000), 6),
        ] {
            assert_eq!(read(text).unwrap_err().line, line, "{text:?}");
        }
    }
}

//! No circle of imports between files of different folders: a folder can be read, and changed, after those that it
//! needs and before those that need it.
//!
//! `foo.rs` belongs to the folder `foo/` beside it, if there is one. Files of one folder may need each other, and tests
//! may need anything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use crate::modules::Modules;

/// The crates that hold to it. `CIRCLES=proxy,node cargo test -p portolan --test tidy circle` looks at others too.
const CRATES: &[&str] = &[
    "api",
    "controllers",
    "dns",
    "follow",
    "nfnetlink",
    "node",
    "pages",
    "proxy",
    "service",
    "store",
    "testbed",
];

/// Which files each file needs.
type Graph = BTreeMap<PathBuf, BTreeSet<PathBuf>>;

/// The files of the shortest circle that leaves a folder, in order; `None` if there is none.
fn circle(graph: &Graph) -> Option<Vec<PathBuf>> {
    let folder = |file: &Path| {
        let own = file.with_extension("");
        let is_folder = graph.keys().any(|other| *other != *file && other.starts_with(&own));
        if is_folder { own } else { file.parent().unwrap_or(Path::new("")).to_owned() }
    };
    let steps = graph.iter().flat_map(|(from, needs)| needs.iter().map(move |to| (from, to)));
    let leaving = steps.filter(|(from, to)| folder(from) != folder(to));
    leaving.filter_map(|(from, to)| way(graph, to, from)).min_by_key(Vec::len)
}

/// The shortest way from one file to another along what they need.
fn way(graph: &Graph, from: &Path, to: &Path) -> Option<Vec<PathBuf>> {
    let mut before: BTreeMap<&Path, &Path> = BTreeMap::from([(from, from)]);
    let mut waiting = VecDeque::from([from]);
    while let Some(file) = waiting.pop_front() {
        if file == to {
            let back = std::iter::successors(Some(file), |file| Some(before[file]).filter(|_| *file != from));
            let mut way: Vec<_> = back.map(Path::to_owned).collect();
            way.reverse();
            return Some(way);
        }
        for next in graph.get(file).into_iter().flatten() {
            if !before.contains_key(next.as_path()) {
                before.insert(next, file);
                waiting.push_back(next);
            }
        }
    }
    None
}

/// The graph of the files of a crate.
fn graph(name: &str) -> Graph {
    let src = crate::root().join("crates").join(name).join("src");
    let sources: Vec<_> = crate::files(&src, "rs")
        .into_iter()
        .map(|path| (path.strip_prefix(&src).map(Path::to_owned), std::fs::read_to_string(&path)))
        .map(|(path, text)| (path.expect("a file of src"), text.expect("a source can be read")))
        .collect();
    Modules::of(sources.iter().map(|(path, source)| (path.as_path(), source.as_str()))).needs()
}

#[test]
fn no_circle_of_imports_leaves_a_folder() {
    let more = std::env::var("CIRCLES").unwrap_or_default();
    let names = CRATES.iter().copied().chain(more.split(',').filter(|name| !name.is_empty()));
    let found: Vec<_> = names
        .filter_map(|name| {
            let files: Vec<_> = circle(&graph(name))?.iter().map(|file| file.display().to_string()).collect();
            Some(format!("{name}: {} -> {}", files.join(" -> "), files[0]))
        })
        .collect();
    assert!(found.is_empty(), "imports go in a circle through several folders:\n{}", found.join("\n"));
}

#[test]
fn a_circle_is_found_if_it_leaves_a_folder() {
    let graph = |edges: &[(&str, &str)]| -> Graph {
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph.entry(PathBuf::from(to)).or_default();
            graph.entry(PathBuf::from(from)).or_default().insert(PathBuf::from(to));
        }
        graph
    };
    let found = |edges: &[(&str, &str)]| circle(&graph(edges)).map(|files| files.len());
    let inside = [("a.rs", "a/b.rs"), ("a/b.rs", "a/c.rs"), ("a/c.rs", "a.rs"), ("lib.rs", "a.rs")];
    assert_eq!(found(&inside), None, "a circle in one folder");
    let across = [("a.rs", "a/b.rs"), ("a/b.rs", "d/e.rs"), ("d/e.rs", "f.rs"), ("f.rs", "a.rs")];
    assert_eq!(found(&across), Some(4));
    assert_eq!(found(&across[..3]), None, "no way back");
}

//! The repository checks itself: what ARCHITECTURE.md promises about the house holds.

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/glossary.rs"]
mod glossary;
#[path = "tidy/modules.rs"]
mod modules;
#[path = "tidy/tokens.rs"]
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which crates of ours a crate may use. Arrows point down only.
const ARROWS: &[(&str, &[&str])] = &[
    ("nfnetlink", &[]),
    ("service", &[]),
    ("follow", &["service"]),
    ("api", &[]),
    ("store", &[]),
    ("pages", &[]),
    ("testbed", &[]),
    ("apiserver", &["api", "store"]),
    ("controllers", &["follow", "service"]),
    ("proxy", &["follow", "nfnetlink", "pages", "service"]),
    ("dns", &["api", "follow", "pages", "service"]),
    ("node", &["api", "follow", "nfnetlink", "service"]),
    (
        "portolan",
        &["apiserver", "controllers", "dns", "follow", "nfnetlink", "node", "proxy", "service", "testbed"],
    ),
];

/// Files that may call what the compiler cannot check.
const UNSAFE_FILE: &str = "sys.rs";
/// The longest file that still is one idea, in lines.
const MAX_LINES: usize = 700;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn crates() -> Vec<String> {
    let folders = fs::read_dir(root().join("crates")).expect("crates/ can be listed").flatten();
    folders.filter_map(|folder| folder.file_name().into_string().ok()).collect()
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found
}

fn sources() -> Vec<(PathBuf, String)> {
    let paths = files(&root().join("crates"), "rs");
    paths
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(&path).expect("a source can be read")))
        .collect()
}

/// The crates of ours that a manifest names in `[dependencies]`.
fn dependencies(manifest: &str, own: &BTreeSet<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut counted = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            counted = line.trim() == "[dependencies]";
        } else if let Some((name, _)) = line.split_once('=').filter(|_| counted)
            && own.contains(name.trim())
        {
            found.insert(name.trim().to_owned());
        }
    }
    found
}

#[test]
fn arrows_between_crates_point_down_only() {
    let own: BTreeSet<String> = crates().into_iter().collect();
    let allowed: BTreeMap<&str, BTreeSet<String>> =
        ARROWS.iter().map(|(name, down)| (*name, down.iter().map(ToString::to_string).collect())).collect();
    for name in &own {
        let manifest =
            fs::read_to_string(root().join("crates").join(name).join("Cargo.toml")).expect("a manifest");
        let allowed =
            allowed.get(name.as_str()).unwrap_or_else(|| panic!("{name} has no place in the house"));
        let used = dependencies(&manifest, &own);
        let upward: Vec<_> = used.difference(allowed).collect();
        assert!(upward.is_empty(), "{name} must not use {upward:?}");
    }
}

#[test]
fn unchecked_code_is_in_sys_modules_only() {
    for (path, text) in sources() {
        let allows = text.contains(concat!("allow(", "unsafe_code"));
        assert!(
            !allows || path.file_name().is_some_and(|name| name == UNSAFE_FILE),
            "{} allows unsafe code; only {UNSAFE_FILE} may",
            path.display()
        );
    }
}

#[test]
fn every_crate_and_every_file_says_what_it_is() {
    for name in crates() {
        let manifest =
            fs::read_to_string(root().join("crates").join(&name).join("Cargo.toml")).expect("a manifest");
        assert!(manifest.contains("\ndescription = "), "{name} has no description");
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name} does not take the house's lints");
    }
    for (path, text) in sources() {
        assert!(text.starts_with("//!"), "{} does not begin with what it is", path.display());
    }
}

#[test]
fn a_file_is_one_idea() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines", path.display());
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        assert!(
            !matches!(name.as_str(), "mod.rs" | "utils.rs" | "util.rs" | "helpers.rs"),
            "{}",
            path.display()
        );
    }
}

#[test]
fn nothing_is_left_for_later() {
    let marks =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("todo", "!("), concat!("unimplemented", "!(")];
    for (path, text) in sources() {
        for mark in marks {
            assert!(!text.contains(mark), "{} contains {mark}", path.display());
        }
    }
}

/// What is added to a clock's reading: the text after the plus sign, up to the end of the expression.
fn added(text: &str) -> &str {
    let mut depth = 0_i32;
    let end = text.find(|letter| {
        depth += match letter {
            '(' | '[' | '{' => 1,
            ')' | ']' | '}' => -1,
            _ => 0,
        };
        depth < 0 || depth == 0 && matches!(letter, ';' | ',')
    });
    text[..end.unwrap_or(text.len())].trim()
}

/// Whether a span of time is one that every clock can add: a constant, a number in the text, a span that saturates
/// (`api::seconds::Seconds`), or anything that is held below a constant.
fn is_bounded(span: &str) -> bool {
    let is_constant = |name: &str| {
        let last = name.rsplit("::").next().unwrap_or_default();
        !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    let held = span
        .strip_suffix(')')
        .and_then(|span| span.rsplit_once(".min("))
        .is_some_and(|(_, most)| is_constant(most));
    let number =
        span.strip_prefix("Duration::from_").and_then(|rest| rest.strip_suffix(')')?.split_once('('));
    let number =
        number.is_some_and(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_'));
    is_constant(span) || held || number || span.ends_with(".duration()")
}

#[test]
fn no_clock_is_added_a_number_from_outside() {
    assert!(
        ["PAUSE", "a::PAUSE", "left.min(PAUSE)", "grace.duration()", "Duration::from_secs(3)"]
            .map(is_bounded)
            .iter()
            .all(|is| *is)
    );
    assert!(
        ["pause", "Duration::from_secs(n)", "a.min(b)", "PAUSE * n"].map(is_bounded).iter().all(|is| !*is)
    );
    for (path, text) in sources() {
        for part in text.split(concat!("Instant::", "now() + ")).skip(1) {
            let span = added(part);
            assert!(is_bounded(span), "{}: a clock's reading + {span} may overflow", path.display());
        }
    }
}

#[test]
fn the_architecture_names_every_crate() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md can be read");
    for name in crates() {
        assert!(text.contains(&format!("`{name}`")), "ARCHITECTURE.md does not speak of {name}");
    }
}

#[test]
fn the_api_is_followed_by_crate_follow_only() {
    let elsewhere = sources().into_iter().filter(|(path, _)| {
        path.components().any(|part| part.as_os_str() == "src")
            && !path.starts_with(root().join("crates/follow"))
    });
    let raw: Vec<_> = elsewhere
        .filter(|(_, text)| ["runtime::watcher", "WatchStreamExt"].iter().any(|name| text.contains(name)))
        .map(|(path, _)| path)
        .collect();
    assert!(raw.is_empty(), "a watch of the kube client's own does not recover from everything: {raw:?}");
}

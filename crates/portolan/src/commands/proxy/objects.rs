//! Kubernetes objects from files.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use service::manifest::{Objects, Options};

/// Endings of files that are read from a directory.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Reads files, directories with files, and `-` for standard input.
pub(crate) fn read(paths: &[PathBuf], options: Options) -> anyhow::Result<Objects> {
    let mut objects = Objects::with(options);
    for path in paths {
        for file in files(path)? {
            let text = text(&file)?;
            objects.read(&text).with_context(|| format!("{} cannot be read", file.display()))?;
        }
    }
    let objects = objects.finish();
    for (kind, count) in &objects.others {
        tracing::info!(kind, count, "objects of a kind that does not matter here");
    }
    Ok(objects)
}

fn text(file: &Path) -> anyhow::Result<String> {
    if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))
}

/// The file itself, or the manifests in a directory in order of name.
fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("{} cannot be listed", path.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let is_manifest =
        |path: &PathBuf| path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known));
    let mut files: Vec<_> = paths.filter(is_manifest).collect();
    files.sort();
    anyhow::ensure!(!files.is_empty(), "{} has no files that end in .yaml, .yml or .json", path.display());
    Ok(files)
}

//! Targets for a fuzzer: functions that are given any bytes and panic when a rule is broken.

mod clients;
mod nodes;
mod requests;
mod resolvers;
mod texts;

use std::fs;
use std::path::Path;

/// Something that reads bytes from outside.
#[derive(Debug)]
pub struct Target {
    /// What it is called.
    pub name: &'static str,
    /// Reads the bytes; panics when what comes of it is wrong.
    pub run: fn(&[u8]),
    /// Bytes that are read to the end, from which others are made.
    seeds: fn() -> Vec<Vec<u8>>,
}

const TARGETS: &[Target] = &[
    Target { name: "query", run: clients::query, seeds: clients::seeds },
    Target { name: "reply", run: resolvers::repeat, seeds: resolvers::seeds },
    Target { name: "records", run: resolvers::copy, seeds: resolvers::seeds },
    Target { name: "corefile", run: texts::corefile, seeds: texts::corefiles },
    Target { name: "manifest", run: texts::manifest, seeds: texts::manifests },
    Target { name: "object", run: requests::object, seeds: requests::objects },
    Target { name: "patch", run: requests::patch, seeds: requests::patches },
    Target { name: "archive", run: nodes::archive, seeds: nodes::archives },
    Target { name: "volume-name", run: nodes::volume_name, seeds: nodes::volume_names },
    Target { name: "log-line", run: nodes::log_line, seeds: nodes::log_lines },
    Target { name: "spdy", run: nodes::spdy, seeds: nodes::frames },
    Target { name: "head", run: requests::head, seeds: requests::heads },
    Target { name: "seconds", run: texts::seconds, seeds: texts::numbers },
];

/// The names of all targets.
pub fn names() -> Vec<&'static str> {
    TARGETS.iter().map(|target| target.name).collect()
}

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Writes the first inputs of each target to a folder of its name.
///
/// # Errors
/// What cannot be written, and why.
pub fn write_seeds(folder: &Path) -> Result<(), String> {
    for target in TARGETS {
        let folder = folder.join(target.name);
        let failed = |error| format!("cannot write to {}: {error}", folder.display());
        fs::create_dir_all(&folder).map_err(failed)?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed).map_err(failed)?;
        }
    }
    Ok(())
}

/// Runs a target on files, as one on which it failed.
///
/// # Errors
/// When there is no such target, or a file cannot be read.
pub fn try_files(name: &str, files: &[&str]) -> Result<(), String> {
    let target = target(name).ok_or_else(|| format!("there is no target {name}"))?;
    for file in files {
        let bytes = fs::read(file).map_err(|error| format!("cannot read {file}: {error}"))?;
        (target.run)(&bytes);
        println!("{file}: {} bytes, no rule is broken", bytes.len());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The targets in use, without a fuzzer: what a few damaged seeds can find.
    #[test]
    fn no_target_breaks_a_rule_on_its_seeds_or_near_them() {
        let mut random = fastrand::Rng::with_seed(7);
        for target in TARGETS {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{} has seeds", target.name);
            for seed in seeds {
                (target.run)(&seed);
                for _ in 0..200 {
                    let mut damaged = seed.clone();
                    damaged.truncate(random.usize(..=seed.len()));
                    for _ in 0..random.usize(..4) {
                        if !damaged.is_empty() {
                            let at = random.usize(..damaged.len());
                            damaged[at] = random.u8(..);
                        }
                    }
                    (target.run)(&damaged);
                }
            }
        }
    }
}

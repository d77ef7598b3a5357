//! What can go wrong, in words for the person who runs the proxy.

use std::io;

use thiserror::Error;

/// Why the kernel does not hold the rules.
#[derive(Debug, Error)]
pub enum Failure {
    /// The programs are not installed.
    #[error(
        "iptables-restore is not in PATH; install the package iptables (1.6.2 or later), or use the mode \
         nftables, which needs no program"
    )]
    NoProgram,
    /// A program could not be started.
    #[error("cannot run {program}: {error}")]
    Run {
        /// Which one.
        program: String,
        /// Why not.
        error: io::Error,
    },
    /// The kernel has no iptables of this kind.
    #[error(
        "{program} does not work here: {why}; load the kernel's modules (iptable_nat and iptable_filter, or \
         nft_compat), or use the mode nftables"
    )]
    Unusable {
        /// Which one.
        program: String,
        /// What it said.
        why: String,
    },
    /// Rules were refused; the table that they are for is as it was.
    #[error("{program} refused the rules: {why}{}", at_line(.line))]
    Refused {
        /// Which one.
        program: String,
        /// What it said.
        why: String,
        /// The line that it named.
        line: Option<String>,
    },
    /// The kernel or the programs do not know something that a rule is made of.
    #[error(
        "{program} does not know a part of the rule {line:?} ({why}); load the kernel's modules ({}), or use the mode \
         nftables, which does without", modules(.line)
    )]
    Lacking {
        /// Which one.
        program: String,
        /// What it said.
        why: String,
        /// The line that it named.
        line: String,
    },
    /// What a program printed cannot be read.
    #[error("cannot read what {program} printed: {error}")]
    Dump {
        /// Which one.
        program: String,
        /// What is wrong with it.
        error: crate::xtables::text::BadDump,
    },
    /// The network namespace cannot be entered.
    #[error("cannot enter the network namespace: {0}; that needs CAP_SYS_ADMIN")]
    Enter(#[from] io::Error),
    /// A setting of the kernel could not be written.
    #[error(
        "cannot write {value} to {path}: {error}; NodePorts at 127.0.0.1 need it, switch them off or set it by hand"
    )]
    Setting {
        /// Which one.
        path: &'static str,
        /// What it was to be.
        value: &'static str,
        /// Why not.
        error: io::Error,
    },
}

/// What programs say of a match or target that they or the kernel do not know. Of chains that are not there they say
/// the same.
const UNKNOWN: [&str; 5] = [
    "No chain/target/match by that name",
    "Couldn't load match",
    "Couldn't load target",
    "unknown option",
    "Extension",
];

impl Failure {
    /// What the refusal of rules means that depend on nothing else in the kernel.
    pub(crate) fn of_whole(self) -> Self {
        match self {
            Self::Refused { program, why, line: Some(line) }
                if UNKNOWN.iter().any(|words| why.contains(words)) =>
            {
                Self::Lacking { program, why, line }
            }
            other => other,
        }
    }
}

/// The modules of the matches and of the target in a rule.
fn modules(rule: &str) -> String {
    let words: Vec<_> = rule.split_whitespace().collect();
    let named = words.windows(2).filter(|pair| matches!(pair[0], "-m" | "-j")).map(|pair| pair[1]);
    let names = named.filter(|name| !name.starts_with("KUBE-")).map(|name| format!("xt_{name}"));
    names.collect::<Vec<_>>().join(", ")
}

fn at_line(line: &Option<String>) -> String {
    line.as_ref().map(|line| format!("; the line is {line:?}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(why: &str) -> Failure {
        let line = "-A KUBE-SVC-X -m statistic --mode random --probability 0.5 -j KUBE-SEP-X".to_owned();
        Failure::Refused { program: "iptables-restore".to_owned(), why: why.to_owned(), line: Some(line) }
    }

    #[test]
    fn a_feature_that_is_missing_is_named_with_its_module_and_the_mode_that_does_without() {
        let text = refused("Couldn't load match `statistic'").of_whole().to_string();
        assert!(text.contains("(xt_statistic)") && text.contains("use the mode nftables"), "{text}");
        let other = refused("Device or resource busy").of_whole();
        assert!(matches!(other, Failure::Refused { .. }));
    }
}

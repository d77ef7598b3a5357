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
    /// What a program printed cannot be read.
    #[error("cannot read what {program} printed: {error}")]
    Dump {
        /// Which one.
        program: String,
        /// What is wrong with it.
        error: crate::iptables::text::BadDump,
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

fn at_line(line: &Option<String>) -> String {
    line.as_ref().map(|line| format!("; the line is {line:?}")).unwrap_or_default()
}

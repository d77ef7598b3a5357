//! Each row of the table does what it says.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::config::Config;

/// Two directives of each name, which say different things where they can.
const EXAMPLES: &[(&str, [&str; 2])] = &[
    ("any", ["any", "any"]),
    ("autopath", ["autopath @kubernetes", "autopath /etc/resolv.conf"]),
    ("bind", ["bind 127.0.0.1", "bind 127.0.0.2"]),
    ("bufsize", ["bufsize 512", "bufsize 1232"]),
    ("cache", ["cache 30", "cache 60"]),
    ("cancel", ["cancel", "cancel 5s"]),
    ("debug", ["debug", "debug"]),
    ("errors", ["errors", "errors"]),
    ("forward", ["forward . 192.0.2.1", "forward example 192.0.2.2"]),
    ("health", ["health", "health :8081"]),
    ("hosts", ["hosts {\n 192.0.2.1 a\n}", "hosts {\n 192.0.2.2 b\n}"]),
    ("kubernetes", ["kubernetes cluster.local", "kubernetes cluster.local"]),
    ("loadbalance", ["loadbalance", "loadbalance round_robin"]),
    ("log", ["log {\n class success\n}", "log {\n class error\n}"]),
    ("loop", ["loop", "loop"]),
    ("metadata", ["metadata", "metadata"]),
    ("minimal", ["minimal", "minimal"]),
    ("multisocket", ["multisocket 1", "multisocket 2"]),
    ("pprof", ["pprof", "pprof"]),
    ("prometheus", ["prometheus", "prometheus :9153"]),
    ("ready", ["ready", "ready :8182"]),
    ("reload", ["reload 2s", "reload 3s"]),
    ("rewrite", ["rewrite name a b", "rewrite name c d"]),
    ("rrl", ["rrl {\n responses-per-second 1\n}", "rrl {\n responses-per-second 2\n}"]),
    ("shed", ["shed", "shed"]),
    ("template", ["template IN A", "template IN AAAA"]),
    ("timeouts", ["timeouts", "timeouts"]),
    ("tls", ["tls a b", "tls c d"]),
    ("transfer", ["transfer {\n to *\n}", "transfer {\n to 192.0.2.1\n}"]),
];

/// The plugins of a block with these directives, as text.
fn read(directives: &[&str]) -> Result<String, Fault> {
    let text = format!(". {{\n{}\n}}", directives.join("\n"));
    Config::from_corefile(&text, Path::new("/")).map(|config| format!("{:?}", config.blocks[0].plugins))
}

#[test]
fn each_row_is_read_and_repeated_as_it_says() {
    let rows: BTreeSet<_> = NAMES.iter().collect();
    assert_eq!(rows.len(), PLUGINS.len(), "each directive has one row");
    assert_eq!(rows, EXAMPLES.iter().map(|(name, _)| name).collect(), "each row has an example");
    for (name, [first, second]) in EXAMPLES {
        let plugin = PLUGINS.iter().find(|plugin| plugin.name == *name).unwrap();
        let both = read(&[first, second]);
        let [first, second] = [first, second].map(|text| read(&[text]).unwrap());
        match plugin.repeated {
            Adds => assert!(both.as_ref() != Ok(&first) && both.as_ref() != Ok(&second), "{name}: {both:?}"),
            Replaces => assert_eq!(both, Ok(second), "{name}"),
            Fails(text) => assert!(both.is_err_and(|fault| fault.text.ends_with(text)), "{name}"),
        }
        let is_kept = first != format!("{:?}", Plugins::default());
        let effect = !matches!(
            *name,
            "any" | "cancel" | "debug" | "metadata" | "minimal" | "pprof" | "shed" | "timeouts"
        );
        assert_eq!(is_kept, effect, "{name}");
    }
}

#[test]
fn an_unknown_directive_is_told_with_all_that_there_are() {
    let fault = read(&["kubernets"]).unwrap_err();
    assert_eq!(fault.line, 2);
    let (start, names) = fault.text.split_once("there are ").unwrap();
    assert_eq!(start, "there is no directive \"kubernets\"; ");
    let names: Vec<_> = names.split(", ").collect();
    assert!(names.is_sorted() && names.len() == PLUGINS.len(), "{names:?}");
}

/// The order of CoreDNS' `plugin.cfg`, except `cache`: there it comes before `rewrite`, here what is known of the
/// cluster is never cached.
#[test]
fn handlers_come_in_stages_and_the_front_page_shows_their_order() {
    let handling = PLUGINS.iter().filter_map(|plugin| Some((plugin.name, plugin.handling.as_ref()?.stage)));
    let (names, stages): (Vec<_>, Vec<_>) = handling.unzip();
    assert!(stages.is_sorted(), "{stages:?}");
    let page = include_str!("../lib.rs");
    let lines = page.lines().filter_map(|line| line.strip_prefix("//! | `")?.split_once("` |"));
    let shown: Vec<_> = lines.map(|(name, _)| name).filter(|name| NAMES.contains(name)).collect();
    assert_eq!(shown, names);
}

//! What is asked, as files for dnsperf: a name and a type in each line.

use std::fmt::Write;

use super::records::{NAMESPACES, Records, namespace};

/// The mix whose names nobody has in a cache.
pub(super) const FORWARDED: &str = "forwarded";
/// How many names of the upstream stay in every cache.
pub(super) const CACHED: usize = 1_000;
/// How many names of the upstream are asked once each.
const FRESH: usize = 400_000;
/// How many questions a file has.
const QUESTIONS: usize = 50_000;

/// Questions of one sort.
pub(super) struct Mix {
    /// A word for it.
    pub(super) name: &'static str,
    /// What it stands for.
    pub(super) what: &'static str,
    /// The questions.
    pub(super) queries: String,
}

/// All mixes over these records.
pub(super) fn all(records: Records) -> Vec<Mix> {
    // Far steps, so that neighbours in a file are no neighbours in a server's tables.
    let service = |question: usize| question * 7919 % records.services.max(1);
    let headless = |question: usize| question * 7919 % records.headless.max(1);
    let file = |questions: usize, ask: &dyn Fn(&mut String, usize)| {
        (0..questions).fold(String::new(), |mut text, question| {
            ask(&mut text, question);
            text
        })
    };
    let mix = |name, what, queries| Mix { name, what, queries };
    vec![
        mix(
            "hits",
            "A of Services",
            file(QUESTIONS, &|text, question| {
                let number = service(question);
                let _ = writeln!(text, "s{number}.{}.svc.cluster.local A", namespace(number));
            }),
        ),
        mix(
            "ndots",
            "what a pod asks with ndots:5: six names that do not exist for one that does",
            file(QUESTIONS / 8, &|text, question| {
                let (number, own) = (service(question), question % NAMESPACES);
                for suffix in [&*format!("n{own}.svc."), "svc.", ""] {
                    for kind in ["A", "AAAA"] {
                        let _ = writeln!(text, "www{number}.example.com.{suffix}cluster.local {kind}");
                    }
                }
                let name = format!("s{number}.{}", namespace(number));
                let _ = writeln!(text, "{name}.n{own}.svc.cluster.local A\n{name}.svc.cluster.local A");
            }),
        ),
        mix(
            "srv",
            "SRV of named ports",
            file(QUESTIONS, &|text, question| {
                let number = service(question);
                let _ = writeln!(text, "_http._tcp.s{number}.{}.svc.cluster.local SRV", namespace(number));
            }),
        ),
        mix(
            "headless",
            "A of headless Services with 100 endpoints, in messages of up to 4096 bytes",
            file(QUESTIONS, &|text, question| {
                let number = headless(question);
                let _ = writeln!(text, "h{number}.{}.svc.cluster.local A", namespace(number));
            }),
        ),
        mix(
            "cached",
            "A of other names, which caches hold; NSD has them itself",
            file(QUESTIONS, &|text, question| {
                let _ = writeln!(text, "w{}.example.com A", question * 7919 % CACHED);
            }),
        ),
        mix(
            FORWARDED,
            "A of other names, each asked once; NSD has them itself",
            file(FRESH, &|text, question| {
                let _ = writeln!(text, "f{question}.example.org A");
            }),
        ),
    ]
}

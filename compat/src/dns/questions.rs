//! Every question that objects and a configuration suggest.

mod broken;
mod names;

use fastrand::Rng;
use serde_json::Value;

use crate::dns::codes::{A, AAAA, ANY, AXFR, CNAME, DS, HINFO, HTTPS, IXFR, MX, NS, PTR, SOA, SRV, TXT};
use crate::dns::corefile::Case;
use crate::dns::question::{Edns, Question};

/// The types that every name is asked for.
const KINDS: [u16; 14] = [A, AAAA, SRV, PTR, CNAME, TXT, SOA, NS, MX, ANY, HTTPS, DS, HINFO, 999];
/// How many of a name's types are asked for when only a sample is taken; the first always are.
const SAMPLE: usize = 4;

/// All questions: each name with each type, asked in a random manner, then what breaks rules. With `most`, about so
/// many.
pub fn questions(random: &mut Rng, objects: &Value, case: &Case, most: Option<usize>) -> Vec<Question> {
    let names::Names { configured: mut names, mut likely, mut others } = names::names(random, objects, case);
    let mut kinds_of_a_name = KINDS.len();
    if let Some(most) = most {
        kinds_of_a_name = SAMPLE;
        // Of names that exist more can be seen than of those that do not.
        for (some, share) in [(&mut likely, 2), (&mut others, 4)] {
            random.shuffle(some);
            some.truncate(most / SAMPLE / share);
        }
    }
    names.extend(likely);
    names.extend(others);
    let mut questions = Vec::new();
    for name in &names {
        let mut kinds = KINDS;
        if kinds_of_a_name < KINDS.len() {
            random.shuffle(&mut kinds[2..]);
        }
        // What fits the name best is always asked.
        let fitting = if name.contains(".arpa") { PTR } else { SRV };
        if let Some(at) = kinds.iter().position(|kind| *kind == fitting) {
            kinds.swap(at, 2);
        }
        let asked = kinds[..kinds_of_a_name].iter();
        questions.extend(asked.map(|kind| manner(random, Question::new(name, *kind))));
    }
    for zone in case.zones.iter().filter(|zone| !zone.contains('/')) {
        for kind in [AXFR, IXFR] {
            let transfer = Question::new(&format!("{zone}."), kind);
            // An answer of a whole zone over UDP would say nothing that TCP does not.
            questions.push(transfer.over_tcp());
            if !zone.ends_with("arpa") {
                questions.push(Question::new(&format!("svc.{zone}."), kind).over_tcp());
            }
        }
    }
    if case.broken {
        questions.extend(broken::questions(case.zones.first().copied().unwrap_or("example.com")));
    }
    questions
}

/// The same question over TCP, in other letters, with flags, with EDNS and sizes.
fn manner(random: &mut Rng, question: Question) -> Question {
    let mut question = question.with(|proper| {
        proper.flags = [random.u8(..8) != 0, random.u8(..8) == 0, random.u8(..8) == 0];
        if random.bool() {
            proper.edns = Some(Edns {
                size: [0, 100, 512, 700, 1232, 1232, 4096, 65_535][random.usize(..8)],
                dnssec: random.u8(..4) == 0,
                options: OPTIONS[random.usize(..OPTIONS.len())].to_vec(),
                version: 0,
            });
        }
        if random.u8(..6) == 0 {
            let change = |letter: char| match random.bool() {
                true => letter.to_ascii_uppercase(),
                false => letter,
            };
            proper.name = proper.name.chars().map(change).collect();
        }
    });
    question.tcp = random.u8(..5) == 0;
    question
}

/// EDNS options: none, a client's cookie (RFC 7873), NSID (RFC 5001), a client's subnet (RFC 7871), padding.
const OPTIONS: [&[u8]; 7] = [
    b"",
    b"",
    b"",
    b"\x00\x0a\x00\x08\x01\x02\x03\x04\x05\x06\x07\x08",
    b"\x00\x03\x00\x00",
    b"\x00\x08\x00\x07\x00\x01\x18\x00\xc6\x33\x64",
    b"\x00\x0c\x00\x02\x00\x00",
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_sample_is_small_and_everything_is_not() {
        let case = Case::of("plain").unwrap();
        let objects = json!({"items": [{
            "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"clusterIPs": ["10.96.0.7"], "ports": [{"name": "http", "protocol": "TCP", "port": 80}]},
        }]});
        let mut random = Rng::with_seed(1);
        let all = questions(&mut random, &objects, case, None);
        let some = questions(&mut random, &objects, case, Some(40));
        assert!(all.len() > 20 * KINDS.len() && some.len() < 150, "{} {}", all.len(), some.len());
        let asks = |name: &str| {
            all.iter().any(|question| {
                question.proper().is_some_and(|proper| proper.name.eq_ignore_ascii_case(name))
            })
        };
        for name in [
            "web.default.svc.cluster.local.",
            "_http._tcp.web.default.svc.cluster.local.",
            "_http._udp.web.default.svc.cluster.local.",
            "7.0.96.10.in-addr.arpa.",
            "dns-version.cluster.local.",
        ] {
            assert!(asks(name), "{name}");
        }
    }
}

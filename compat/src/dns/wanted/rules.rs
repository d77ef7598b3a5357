//! A rule for each sort of difference that is on purpose.

use super::Asked;
use crate::dns::codes;
use crate::dns::compare::Difference;
use crate::dns::question::{Edns, Message};
use crate::dns::reply::{Outcome, Record, Section};

/// A rule.
pub(super) struct Wanted {
    /// Why, in few words.
    pub(super) reason: &'static str,
    /// Whether this difference is of that sort.
    pub(super) is: fn(&Asked<'_>, &Difference) -> bool,
}

/// What may stand for a protocol in front of a Service's name.
const PROTOCOLS: [&str; 3] = ["_tcp.", "_udp.", "_sctp."];

/// All of them; the first that fits counts.
pub(super) const ALL: [Wanted; 38] = [
    Wanted {
        reason: "EDNS tells the server's own size",
        is: |_, difference| match difference {
            Difference::Edns(Some(theirs), Some(ours)) => {
                theirs.size != ours.size && Edns { size: theirs.size, ..ours.clone() } == *theirs
            }
            _ => false,
        },
    },
    Wanted {
        reason: "RA is set wherever the server forwards",
        is: |asked, difference| {
            *difference == Difference::Flag { flag: "ra", ours: true }
                && asked.case.plugins.contains("forward")
        },
    },
    Wanted {
        reason: "names in data are in small letters, or as they were asked for",
        is: |asked, difference| match difference {
            Difference::Letters(_) => true,
            Difference::Missing(theirs) => ours(asked, |ours| letters(theirs, ours)),
            Difference::Extra(ours) => theirs(asked, |theirs| letters(theirs, ours)),
            _ => false,
        },
    },
    Wanted {
        reason: "the weight of an SRV record counts a target once",
        is: |asked, difference| match difference {
            Difference::Missing(theirs) => ours(asked, |ours| weight(theirs, ours)),
            Difference::Extra(ours) => theirs(asked, |theirs| weight(theirs, ours)),
            _ => false,
        },
    },
    Wanted {
        reason: "no UDP message has more than 1232 bytes",
        is: |asked, _| {
            let truncated = |outcome: &Outcome| outcome.reply().is_some_and(|reply| reply.is("tc"));
            !asked.question.tcp && !truncated(asked.theirs) && truncated(asked.ours)
        },
    },
    Wanted {
        reason: "ANY is answered by one HINFO record",
        is: |asked, _| asked.kind() == codes::ANY && ours(asked, |ours| ours.kind == codes::HINFO),
    },
    Wanted {
        reason: "a name that is in no zone is refused",
        is: |asked, _| asked.becomes("SERVFAIL", "REFUSED") && asked.is_empty(),
    },
    Wanted {
        reason: "a name with a PTR record exists for other types too",
        is: |asked, _| {
            asked.becomes("NXDOMAIN", "NOERROR")
                && asked.kind() != codes::PTR
                && asked.name().ends_with(".arpa.")
                && asked.is_empty()
        },
    },
    Wanted {
        reason: "nothing is below the name of an address",
        is: |asked, _| asked.name().starts_with("x.") && asked.name().ends_with(".arpa."),
    },
    Wanted {
        reason: "dns-version exists for other types too",
        is: |asked, _| asked.becomes("NXDOMAIN", "NOERROR") && asked.name().starts_with("dns-version."),
    },
    Wanted {
        reason: "a name with names below it exists",
        is: |asked, _| {
            let is_protocol = PROTOCOLS.iter().any(|label| asked.name().starts_with(label));
            asked.becomes("NXDOMAIN", "NOERROR")
                && (is_protocol || asked.in_front().as_deref() == Some("dns"))
                && asked.is_empty()
        },
    },
    Wanted {
        reason: "the name of the server exists for other types too, in whatever letters",
        is: |asked, _| asked.becomes("NXDOMAIN", "NOERROR") && asked.in_front().as_deref() == Some("ns.dns"),
    },
    Wanted {
        reason: "a zone has name servers in whatever letters it is asked for",
        is: |asked, _| {
            let asks = |name: &str| name.bytes().any(|byte| byte.is_ascii_uppercase());
            let apex = asked.kind() == codes::NS && asked.in_front().is_some_and(|front| front.is_empty());
            apex && asked.question.proper().is_some_and(|proper| asks(&proper.name))
        },
    },
    Wanted {
        reason: "the name of a namespace is no search",
        is: |asked, _| {
            let is_namespace = asked.in_front().is_some_and(|front| front.matches('.').count() == 1);
            let failed = asked.theirs.reply().is_some_and(|reply| reply.rcode == 2);
            asked.case.plugins.contains("autopath") && failed && is_namespace
        },
    },
    Wanted {
        reason: "a search goes on after an alias of nothing, as clients do",
        is: |asked, _| {
            asked.case.plugins.contains("autopath")
                && asked.becomes("NOERROR", "NXDOMAIN")
                && asked.is_empty()
        },
    },
    Wanted {
        reason: "a name with names below it exists for TXT too",
        is: |asked, _| {
            let name = asked.in_front().unwrap_or_default();
            let labels: Vec<_> = name.split('.').collect();
            let is_above = matches!(labels[..], ["" | "svc" | "pod" | "dns"] | [_, "svc" | "pod" | "dns"]);
            asked.kind() == codes::TXT && asked.becomes("NXDOMAIN", "NOERROR") && is_above && asked.is_empty()
        },
    },
    Wanted {
        reason: "no address leads to a name of a namespace that is not selected",
        is: |asked, difference| {
            let is_pointer = |record: &Record| record.kind == codes::PTR;
            let hidden = asked.kind() == codes::PTR && asked.case.kubernetes.contains("namespace_labels");
            hidden
                && match difference {
                    Difference::Missing(record) => is_pointer(record),
                    _ => asked.becomes("NOERROR", "NXDOMAIN"),
                }
        },
    },
    Wanted {
        reason: "no address leads to an endpoint of an ExternalName or of no Service, which has no name",
        is: |asked, difference| {
            let lost = |theirs: &Record| {
                theirs.kind == codes::PTR && !ours(asked, |ours| ours.data.eq_ignore_ascii_case(&theirs.data))
            };
            let mistaken = |theirs: &Record| lost(theirs) && asked.services.have(&theirs.data);
            let concerned = match difference {
                Difference::Missing(record) => lost(record),
                // They were the only ones.
                Difference::Outcome(..) | Difference::Extra(_) => asked.becomes("NOERROR", "NXDOMAIN"),
                _ => false,
            };
            asked.kind() == codes::PTR && concerned && theirs(asked, lost) && !theirs(asked, mistaken)
        },
    },
    Wanted {
        reason: "a truncated answer holds as many targets as fit, and they differ in length",
        is: |asked, difference| asked.kind() == codes::SRV && *difference == Difference::Left,
    },
    Wanted {
        reason: "a truncated answer holds what fits of the whole one, which a resolver tells over TCP",
        is: |asked, difference| {
            let count = |outcome: &Outcome| outcome.reply().map_or(0, |reply| reply.records.len());
            let forwarded = asked.case.plugins.contains("forward");
            *difference == Difference::Left && forwarded && count(asked.theirs) < count(asked.ours)
        },
    },
    Wanted {
        reason: "the additional section has every address of a target",
        is: |asked, difference| match difference {
            Difference::Extra(address) if is_address(address) => {
                theirs(asked, |other| is_address(other) && other.name.eq_ignore_ascii_case(&address.name))
            }
            _ => false,
        },
    },
    Wanted {
        reason: "an alias of nothing is remembered like any absence",
        is: |asked, difference| {
            let is_alias = |record: &Record| record.kind == codes::CNAME;
            asked.becomes("NXDOMAIN", "NXDOMAIN")
                && theirs(asked, is_alias)
                && matches!(difference, Difference::Ttl(..))
        },
    },
    Wanted {
        reason: "where no name of the zone is there, SOA falls through too",
        is: |asked, difference| {
            asked.kind() == codes::SOA
                && asked.case.kubernetes.contains("fallthrough")
                && matches!(difference, Difference::Missing(record) | Difference::Extra(record)
                    if record.section == Section::Authority)
        },
    },
    Wanted {
        reason: "a search tells each alias once",
        is: |asked, difference| {
            let concerned = match difference {
                Difference::Order => true,
                Difference::Missing(record) | Difference::Ttl(record, _) => record.kind == codes::CNAME,
                _ => false,
            };
            asked.case.plugins.contains("autopath")
                && concerned
                && aliases(asked.theirs) == aliases(asked.ours)
        },
    },
    Wanted {
        reason: "the names of ports and protocols begin with an underscore",
        is: |asked, _| {
            let name = asked.name();
            let labels: Vec<_> = name.split('.').collect();
            let is_bare = |label: &&str| !label.starts_with('_') || *label == "_";
            asked.becomes("NOERROR", "NXDOMAIN")
                && labels.len() > 5
                && labels[..2].iter().any(is_bare)
                && labels[1].trim_start_matches('_').len() < 5
        },
    },
    Wanted {
        reason: "an ExternalName is an alias for every type, also of nothing",
        is: |asked, difference| {
            let alias = |record: &Record| {
                record.kind == codes::CNAME && record.name.eq_ignore_ascii_case(&asked.name())
            };
            let within = asked.name().contains(".svc.") || asked.case.plugins.contains("rewrite");
            let absence = |difference: &Difference| {
                matches!(difference, Difference::Extra(record)
                    if record.section == Section::Authority && record.kind == codes::SOA)
            };
            within
                && ours(asked, alias)
                && (!theirs(asked, alias) || asked.becomes("NOERROR", "NXDOMAIN") || absence(difference))
        },
    },
    Wanted {
        reason: "a pod has no SRV record",
        is: |asked, _| asked.kind() == codes::SRV && asked.name().contains(".pod.") && asked.is_empty(),
    },
    Wanted {
        reason: "a broken message is a format error",
        is: |asked, _| {
            let is_message = matches!(asked.question.message, Message::Bytes(_));
            is_message && asked.ours.reply().is_some_and(|reply| reply.rcode == 1)
        },
    },
    Wanted {
        reason: "classes other than IN are refused",
        is: |asked, _| {
            let class = asked.question.proper().map_or(codes::IN, |proper| proper.class);
            class != codes::IN && asked.ours.reply().is_some_and(|reply| reply.rcode == 5)
        },
    },
    Wanted {
        reason: "opcodes other than QUERY are not implemented",
        is: |asked, _| {
            let opcode = asked.question.proper().map_or(0, |proper| proper.opcode);
            opcode != 0 && asked.ours.reply().is_some_and(|reply| reply.rcode == 4)
        },
    },
    Wanted {
        reason: "only the apex of a zone has a transfer",
        is: |asked, _| {
            let refused = asked.ours.reply().is_some_and(|reply| reply.rcode == 5);
            asked.question.is_transfer() && asked.in_front() != Some(String::new()) && refused
        },
    },
    Wanted {
        reason: "a transfer from no serial number on is the whole zone",
        is: |asked, _| asked.kind() == codes::IXFR && asked.becomes("SERVFAIL", "NOERROR"),
    },
    Wanted {
        reason: "a reverse zone is transferred with its PTR records",
        is: |asked, difference| {
            let reverse = asked.question.is_transfer() && asked.name().ends_with(".arpa.");
            reverse
                && match difference {
                    Difference::Missing(record) => record.kind != codes::SOA,
                    Difference::Extra(record) => record.kind == codes::PTR,
                    _ => false,
                }
        },
    },
    Wanted {
        reason: "a transfer has every record that questions get",
        is: |asked, difference| {
            let known = [codes::A, codes::AAAA, codes::SRV, codes::TXT];
            let more = |record: &Record| known.contains(&record.kind);
            asked.question.is_transfer() && matches!(difference, Difference::Extra(record) if more(record))
        },
    },
    Wanted {
        reason: "the question is repeated as it was asked",
        is: |asked, _| {
            let echo = |outcome: &Outcome| outcome.reply().is_some_and(|reply| reply.echo.is_some());
            asked.question.proper().is_some() && echo(asked.theirs) && !echo(asked.ours)
        },
    },
    Wanted {
        reason: "a reply is not truncated when only additional records have no room",
        is: |asked, difference| {
            let additional = |record: &Record| record.section == Section::Additional;
            let lost = asked.theirs.reply().is_some_and(|reply| reply.is("tc"));
            !asked.question.tcp
                && lost
                && match difference {
                    Difference::Flag { flag, ours } => *flag == "tc" && !ours,
                    Difference::Missing(record) | Difference::Extra(record) => additional(record),
                    _ => false,
                }
        },
    },
    Wanted {
        reason: "CD is copied from the question",
        is: |_, difference| *difference == Difference::Flag { flag: "cd", ours: true },
    },
    Wanted {
        reason: "a name that does not exist does not exist for SOA either",
        is: |asked, difference| {
            // A search ends there.
            let of_search = asked.case.plugins.contains("autopath")
                && matches!(difference, Difference::Missing(record) | Difference::Extra(record)
                    if record.section == Section::Authority);
            asked.kind() == codes::SOA && (of_search || asked.becomes("NOERROR", "NXDOMAIN"))
        },
    },
];

fn ours(asked: &Asked<'_>, fits: impl Fn(&Record) -> bool) -> bool {
    asked.ours.reply().is_some_and(|reply| reply.records.iter().any(fits))
}

fn theirs(asked: &Asked<'_>, fits: impl Fn(&Record) -> bool) -> bool {
    asked.theirs.reply().is_some_and(|reply| reply.records.iter().any(fits))
}

fn is_address(record: &Record) -> bool {
    record.section == Section::Additional && matches!(record.kind, codes::A | codes::AAAA)
}

/// The aliases of an answer in small letters, each once.
fn aliases(outcome: &Outcome) -> Vec<(String, String)> {
    let records = outcome.reply().into_iter().flat_map(|reply| reply.of(Section::Answer));
    let mut all: Vec<_> = records
        .filter(|record| record.kind == codes::CNAME)
        .map(|record| (record.name.to_ascii_lowercase(), record.data.to_ascii_lowercase()))
        .collect();
    all.dedup();
    all
}

/// Whether two records are the same but for the letters of names.
fn letters(one: &Record, other: &Record) -> bool {
    one.data.eq_ignore_ascii_case(&other.data) && alike(one, other)
}

/// Whether two SRV records differ only in their weight, and in letters.
fn weight(one: &Record, other: &Record) -> bool {
    let but_weight = |record: &Record| {
        let words: Vec<_> = record.data.split(' ').map(str::to_ascii_lowercase).collect();
        (words.len() == 4).then(|| (words[0].clone(), words[2].clone(), words[3].clone()))
    };
    one.kind == codes::SRV && alike(one, other) && but_weight(one) == but_weight(other)
}

fn alike(one: &Record, other: &Record) -> bool {
    one.section == other.section
        && one.kind == other.kind
        && one.ttl == other.ttl
        && one.name.eq_ignore_ascii_case(&other.name)
}

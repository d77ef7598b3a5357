//! Replies of templates.

use std::path::Path;

use std::net::IpAddr;

use super::records::{Templates, check};
use crate::config::Config;
use crate::wire::{CLASS_IN, Message, Name, Query, kind, rcode};

/// The types and data of records.
type Records = Vec<(u16, Vec<u8>)>;

fn ask(text: &str, name: &str, kind: u16) -> Option<(u16, Records)> {
    let config = Config::from_corefile(&format!(". {{\n{text}\n}}"), Path::new("/")).unwrap();
    let templates = Templates::new(config.blocks[0].plugins.template.clone());
    let packet = Query::packet(Name::from_text(name).unwrap().wire(), kind, CLASS_IN);
    let mut out = Vec::new();
    let client = IpAddr::from([192, 0, 2, 9]);
    templates.answer(&Query::decode(&packet).unwrap(), client, 512, &mut out).then(|| {
        let message = Message::read(&out).unwrap();
        let records = message.records().unwrap().into_iter();
        (message.rcode(), records.map(|(_, record)| (record.kind, record.data.to_vec())).collect())
    })
}

const ADDRESSES: &str = "template IN A example. {
    match (^|[.])ip-(?P<a>[0-9]+)-(?P<b>[0-9]+)[.]example[.]$
    answer \"{{ .Name }} 60 IN A 10.0.{{ .Group.a }}.{{ index .Match 3 }}\"
    fallthrough
}";

#[test]
fn groups_of_the_pattern_are_filled_in() {
    assert_eq!(ask(ADDRESSES, "ip-1-2.example", kind::A), Some((0, vec![(kind::A, vec![10, 0, 1, 2])])));
    assert_eq!(ask(ADDRESSES, "ip-1-2.example", kind::AAAA), None, "the rule is about A");
    let any = ask(ADDRESSES, "ip-1-2.example", kind::ANY);
    assert_eq!(any, Some((0, vec![(kind::A, vec![10, 0, 1, 2])])), "a question for ANY includes A");
    assert_eq!(ask(ADDRESSES, "other.example", kind::A), None, "it falls through");
    assert_eq!(ask(ADDRESSES, "ip-1-2.example.org", kind::A), None, "another zone");
}

#[test]
fn without_fallthrough_names_that_do_not_match_fail() {
    let rule = ADDRESSES.replace("fallthrough", "");
    assert_eq!(ask(&rule, "other.example", kind::A), Some((rcode::SERVFAIL, vec![])));
    assert_eq!(ask(&rule, "ip-1-999.example", kind::A), Some((rcode::SERVFAIL, vec![])), "no record");
}

#[test]
fn a_rule_may_deny_everything() {
    let rule =
        "template ANY ANY invalid. {\n rcode NXDOMAIN\n authority \"invalid. 60 IN SOA a. b. 1 2 3 4 5\"\n}";
    let (code, records) = ask(rule, "a.invalid", kind::SRV).unwrap();
    assert_eq!((code, records.len()), (rcode::NXDOMAIN, 1));
}

#[test]
fn expressions_that_are_not_known_are_reported() {
    assert!(check("{{ .Name }} {{ range .Match }}").unwrap_err().to_string().contains("range .Match"));
    assert!(check("{{ .Name").unwrap_err().to_string().contains("not closed"));
}

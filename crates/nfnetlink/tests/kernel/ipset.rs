//! Sets that we write and `ipset` prints.

use std::process::Command;

use nfnetlink::ipset::{Entry, IpSet, SetType};
use nfnetlink::{Family, Socket};

use crate::namespace::in_namespace;

fn set(name: &str, kind: SetType, family: Family) -> IpSet {
    IpSet { name: name.into(), kind, family }
}

fn samples() -> Vec<(IpSet, Vec<Entry>)> {
    let (v4, v6) = ([10, 96, 0, 1].into(), "fd00:96::1".parse().unwrap());
    vec![
        (set("ips", SetType::HashIp, Family::Ip), vec![Entry::Ip(v4)]),
        (
            set("fronts", SetType::HashIpPort, Family::Ip),
            vec![Entry::IpPort(v4, 6, 443), Entry::IpPort(v4, 132, 9)],
        ),
        (set("fronts6", SetType::HashIpPort, Family::Ip6), vec![Entry::IpPort(v6, 17, 53)]),
        (set("loops", SetType::HashIpPortIp, Family::Ip6), vec![Entry::IpPortIp(v6, 6, 80, v6)]),
        (
            set("ranges", SetType::HashIpPortNet, Family::Ip),
            vec![Entry::IpPortNet(v4, 6, 80, [10, 1, 0, 0].into(), 16), Entry::IpPortNet(v4, 6, 80, v4, 32)],
        ),
        (set("ports", SetType::BitmapPort, Family::Ip), vec![Entry::Port(30000), Entry::Port(31688)]),
    ]
}

fn sorted(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_unstable();
    entries
}

#[test]
fn ipset_prints_what_we_write_and_we_read_it_back() {
    in_namespace("ipset", || {
        let mut socket = Socket::open().unwrap();
        for (set, entries) in samples() {
            socket.create_ipset(&set).unwrap();
            socket.create_ipset(&set).expect("it is kept");
            socket.add_ipset_entries(&set, &entries).unwrap();
            socket.add_ipset_entries(&set, &entries).expect("they stay");
            assert_eq!(sorted(socket.ipset_entries(&set).unwrap().unwrap()), sorted(entries.clone()));
            let Ok(output) = Command::new("ipset").args(["save", &set.name]).output() else {
                println!("skipped: the package ipset is not installed");
                return;
            };
            let text = String::from_utf8(output.stdout).unwrap();
            let create = set.to_string();
            assert!(text.lines().any(|line| line.starts_with(&create)), "{create} in {text}");
            for entry in entries {
                assert!(text.contains(&format!("add {} {entry}\n", set.name)), "{entry} in {text}");
            }
        }
    });
}

#[test]
fn entries_and_sets_go_and_what_is_gone_is_no_error() {
    in_namespace("ipset-gone", || {
        let mut socket = Socket::open().unwrap();
        for (set, entries) in samples() {
            socket.create_ipset(&set).unwrap();
            socket.add_ipset_entries(&set, &entries).unwrap();
            socket.delete_ipset_entries(&set, &entries).unwrap();
            socket.delete_ipset_entries(&set, &entries).expect("they are gone");
            assert_eq!(socket.ipset_entries(&set).unwrap(), Some(Vec::new()));
            socket.destroy_ipset(&set.name).unwrap();
            socket.destroy_ipset(&set.name).expect("it is gone");
            assert_eq!(socket.ipset_entries(&set).unwrap(), None);
        }
    });
}

#[test]
fn thousands_of_entries_go_in_and_come_back() {
    in_namespace("ipset-many", || {
        let mut socket = Socket::open().unwrap();
        let set = set("many", SetType::HashIpPort, Family::Ip);
        let entries: Vec<_> = (0..20_000_u32)
            .map(|number| Entry::IpPort((0x0a00_0000 + number).to_be_bytes().into(), 6, 80))
            .collect();
        socket.create_ipset(&set).unwrap();
        socket.add_ipset_entries(&set, &entries).unwrap();
        assert!(sorted(socket.ipset_entries(&set).unwrap().unwrap()) == entries, "all are there");
    });
}

#[test]
fn a_set_of_another_type_is_named_when_it_is_in_the_way() {
    in_namespace("ipset-other", || {
        let mut socket = Socket::open().unwrap();
        socket.create_ipset(&set("s", SetType::HashIp, Family::Ip)).unwrap();
        let error = socket.create_ipset(&set("s", SetType::BitmapPort, Family::Ip)).unwrap_err().to_string();
        assert!(error.contains("create ipset s bitmap:port"), "{error}");
    });
}

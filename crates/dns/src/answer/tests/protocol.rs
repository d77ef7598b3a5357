//! The form of replies: RFC 1035, 2181, 4343 and 6891.

use serde_json::json;

use super::scene::{Scene, query, read, with_opt};
use crate::answer::{AliasTarget, ClusterAnswer};
use crate::client::Transport;
use crate::plan::Action;
use crate::wire::{Record, flag, kind};

const NAME: &str = "db.default.svc.cluster.local";

/// A headless Service with a number of endpoints.
fn crowd(endpoints: usize) -> Scene {
    let endpoints: Vec<_> = (0..endpoints)
        .map(|n| json!({"addresses": [format!("10.244.{}.{}", n / 250, n % 250 + 1)]}))
        .collect();
    let mut scene = Scene::new();
    scene.service("db", json!({"clusterIP": "None"})).slice("db-1", "db", json!([]), endpoints.into());
    scene
}

fn flags(reply: &[u8]) -> u16 {
    u16::from_be_bytes([reply[2], reply[3]])
}

#[test]
fn rfc1035_a_reply_repeats_id_question_and_rd_and_is_authoritative() {
    let mut packet = query("DB.Default.svc.CLUSTER.local", kind::A);
    packet[..2].copy_from_slice(&[0xAB, 0xCD]);
    let (_, reply) = crowd(1).send(&packet, Transport::Udp);
    assert_eq!(reply[..2], [0xAB, 0xCD]);
    assert_eq!(flags(&reply), flag::QR | flag::AA | flag::RD);
    assert_eq!(reply[12..packet.len()], packet[12..], "the case of the question is kept (0x20)");
    assert_eq!(read(&reply)[1], format!("answer {NAME}. A 10.244.0.1"));
}

#[test]
fn rfc1035_packets_that_are_no_ordinary_query_get_the_right_response_code() {
    let scene = crowd(1);
    let good = query(NAME, kind::A);
    let with = |at: usize, value: u8| {
        let mut packet = good.clone();
        packet[at] = value;
        packet
    };
    let rcode = |packet: &[u8]| {
        let (action, reply) = scene.send(packet, Transport::Udp);
        (action == Action::Reply).then(|| flags(&reply) & flag::RCODE)
    };
    assert_eq!(rcode(&good[..11]), None, "too short for a header");
    assert_eq!(rcode(&with(2, 0x80)), None, "a response");
    assert_eq!(rcode(&with(2, 0x28)), Some(4), "another opcode: NOTIMP");
    assert_eq!(rcode(&with(5, 0)), Some(1), "no question: FORMERR");
    assert_eq!(rcode(&with(5, 2)), Some(1), "two questions");
    assert_eq!(rcode(&with(7, 1)), Some(1), "a record that is counted but not there");
    assert_eq!(rcode(&[&good[..], b"x"].concat()), Some(1), "bytes behind the records that are counted");
    assert_eq!(rcode(&with(12, 0xC0)), Some(1), "a compressed question");
    assert_eq!(rcode(&with(good.len() - 1, 3)), Some(5), "class CH: REFUSED");
    assert_eq!(rcode(&with(good.len() - 1, 255)), Some(5), "any class: REFUSED");
    assert_eq!(rcode(&query(NAME, kind::AXFR)), Some(5), "a zone transfer");
    assert_eq!(
        rcode(&query("example.com", kind::A)),
        Some(5),
        "a name outside the cluster, without upstream resolvers"
    );
    assert_eq!(rcode(&query("", kind::NS)), Some(5), "the root");
}

#[test]
fn rfc6891_a_reply_has_an_opt_record_if_the_query_has_one() {
    let scene = crowd(1);
    let (_, reply) = scene.send(&with_opt(query(NAME, kind::A), 4096, 0), Transport::Udp);
    assert_eq!(reply[reply.len() - 11..], [0, 0, 41, 0x04, 0xD0, 0, 0, 0, 0, 0, 0]);
    let (_, reply) = scene.send(&query(NAME, kind::A), Transport::Udp);
    assert_eq!(reply[11], 0);
}

#[test]
fn rfc6891_another_version_is_bad_and_two_opt_records_are_malformed() {
    let scene = crowd(1);
    let (_, reply) = scene.send(&with_opt(query(NAME, kind::A), 4096, 1), Transport::Udp);
    assert_eq!((flags(&reply) & flag::RCODE, reply[reply.len() - 6], reply[7]), (0, 1, 0), "BADVERS is 16");
    let twice = with_opt(with_opt(query(NAME, kind::A), 4096, 0), 4096, 0);
    assert_eq!(flags(&scene.send(&twice, Transport::Udp).1) & flag::RCODE, 1);
}

#[test]
fn rfc6891_a_reply_is_no_larger_than_the_client_accepts() {
    let scene = crowd(400);
    for (size, limit) in
        [(None, 512), (Some(100), 512), (Some(900), 900), (Some(1232), 1232), (Some(4096), 1232)]
    {
        let plain = query(NAME, kind::A);
        let packet = size.map_or(plain.clone(), |size| with_opt(plain, size, 0));
        let (_, reply) = scene.send(&packet, Transport::Udp);
        assert!(reply.len() <= limit && reply.len() > limit - 16, "{} of {limit}", reply.len());
        assert_ne!(flags(&reply) & flag::TC, 0);
        assert!(read(&reply).len() > 20, "it has as many records as fit");
    }
    let (_, reply) = scene.send(&query(NAME, kind::A), Transport::Tcp);
    assert_eq!((flags(&reply) & flag::TC, read(&reply).len()), (0, 401));
}

#[test]
fn rfc2181_additional_records_that_do_not_fit_are_left_out_without_truncation() {
    let mut scene = Scene::new();
    let endpoints: Vec<_> = (1..8).map(|n| json!({"addresses": [format!("10.244.0.{n}")]})).collect();
    let port = json!([{"name": "p", "port": 1}]);
    scene.service("db", json!({"clusterIP": "None"})).slice("db-1", "db", port, endpoints.into());
    let (_, reply) = scene.send(&query(&format!("_p._tcp.{NAME}"), kind::SRV), Transport::Udp);
    assert_eq!((flags(&reply) & flag::TC, reply[7]), (0, 7));
    assert!(reply[11] < 7);
}

#[test]
fn each_query_gets_another_address_first() {
    let scene = crowd(3);
    let mut packet = query(NAME, kind::A);
    let mut first = |id| {
        packet[1] = id;
        read(&scene.send(&packet, Transport::Udp).1)[1].clone()
    };
    assert_ne!(first(0), first(1));
    assert_ne!(first(1), first(2));
    assert_eq!(first(0), first(3));
}

#[test]
fn an_alias_is_completed_with_the_records_of_upstream_resolvers() {
    let mut scene = Scene::new();
    scene.service("out", json!({"type": "ExternalName", "externalName": "foo.example"}));
    let packet = query("out.default.svc.cluster.local", kind::A);
    let target = b"\x03foo\x07example\0";
    let (answer, _) = scene.send_with_target(&packet, AliasTarget::NotAsked);
    assert_eq!(answer, ClusterAnswer::NeedsTarget((*target).into()));
    let records = [Record { name: (*target).into(), kind: kind::A, ttl: 60, data: Box::new([192, 0, 2, 1]) }];
    let resolved = |name, rcode| AliasTarget::Resolved { name, records: &records, rcode };
    let reply = |outside| read(&scene.send_with_target(&packet, outside).1);
    let alias = "answer out.default.svc.cluster.local. CNAME foo.example.";
    assert_eq!(reply(resolved(target, 0)), ["rcode 0", alias, "answer foo.example. A 192.0.2.1"]);
    assert_eq!(reply(resolved(target, 3))[0], "rcode 3");
    assert_eq!(reply(resolved(b"\x03bar\0", 0)), ["rcode 0", alias], "the Service changed meanwhile");
    assert_eq!(reply(AliasTarget::Unknown), ["rcode 0", alias]);
}

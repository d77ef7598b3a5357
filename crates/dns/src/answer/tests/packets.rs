//! Damaged packets: the server replies within its limits or not at all, and neither panics nor hangs.

use serde_json::json;

use super::scene::{Scene, query, read, with_opt};
use crate::client::Transport;
use crate::plan::Action;
use crate::wire::{HEADER, LARGEST_UDP, Message, kind};

fn scene() -> Scene {
    let mut scene = Scene::new();
    let http = json!([{"name": "http", "port": 80}]);
    scene
        .service("web", json!({"clusterIP": "10.96.0.7", "ports": [{"name": "http", "port": 80}]}))
        .service("db", json!({"clusterIP": "None"}))
        .slice("db-1", "db", http, json!([{"addresses": ["10.244.1.3"], "hostname": "db-0"}]))
        .service("out", json!({"type": "ExternalName", "externalName": "db-0.db.default.svc.cluster.local"}));
    scene
}

fn samples() -> Vec<Vec<u8>> {
    let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    let names = [
        ("web.default.svc.cluster.local", kind::A),
        ("_http._tcp.db.default.svc.cluster.local", kind::SRV),
        ("out.default.svc.cluster.local", kind::AAAA),
        ("7.0.96.10.in-addr.arpa", kind::PTR),
        ("10-1-2-3.default.pod.cluster.local", kind::A),
        ("cluster.local", kind::NS),
        (longest.as_str(), kind::A),
        ("", kind::ANY),
    ];
    names.into_iter().map(|(name, kind)| with_opt(query(name, kind), 1232, 0)).collect()
}

/// A generator of pseudo-random numbers, the same in each run (Marsaglia's xorshift).
fn random(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state as usize
}

fn check(scene: &Scene, packet: &[u8]) {
    for transport in [Transport::Udp, Transport::Tcp] {
        let (action, reply) = scene.send(packet, transport);
        if action == Action::Reply {
            assert!(transport == Transport::Tcp || reply.len() <= LARGEST_UDP);
            assert_eq!(reply[..2], packet[..2]);
            read(&reply);
        }
    }
    if let Ok(message) = Message::read(packet) {
        let _ = (message.records(), message.is_about(b"\0\0\x01\0\x01"));
    }
}

#[test]
fn packets_cut_anywhere() {
    let scene = scene();
    for packet in samples() {
        (0..=packet.len()).for_each(|length| check(&scene, &packet[..length]));
    }
}

#[test]
fn packets_with_any_bit_flipped() {
    let scene = scene();
    for packet in samples() {
        for bit in 0..packet.len() * 8 {
            let mut packet = packet.clone();
            packet[bit / 8] ^= 1 << (bit % 8);
            check(&scene, &packet);
        }
    }
}

#[test]
fn packets_with_bytes_replaced_at_random() {
    let (scene, mut state) = (scene(), 0x9E37_79B9_7F4A_7C15);
    for packet in samples() {
        for _ in 0..2_000 {
            let mut packet = packet.clone();
            for _ in 0..1 + random(&mut state) % 6 {
                let at = random(&mut state) % packet.len();
                packet[at] = [0xC0, 0x0C, 0xFF, 0, 0x3F, 0x40][random(&mut state) % 6];
            }
            check(&scene, &packet);
        }
    }
}

#[test]
fn noise_of_every_length() {
    let (scene, mut state) = (scene(), 0xD1B5_4A32_D192_ED03);
    for length in 0..1_500 {
        let packet: Vec<u8> = (0..length).map(|_| random(&mut state) as u8).collect();
        check(&scene, &packet);
    }
}

#[test]
fn replies_of_other_servers_damaged_at_random() {
    let (scene, mut state) = (scene(), 0x2545_F491_4F6C_DD1D);
    for packet in samples() {
        let (_, mut reply) = scene.send(&packet, Transport::Tcp);
        for _ in 0..2_000 {
            let at = random(&mut state) % reply.len();
            let old = std::mem::replace(&mut reply[at], random(&mut state) as u8);
            if let Ok(message) = Message::read(&reply) {
                let _ = (message.records(), message.is_about(&packet[HEADER..packet.len() - 11]));
            }
            reply[at] = old;
        }
    }
}

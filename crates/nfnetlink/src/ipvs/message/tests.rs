//! Messages as `linux/ip_vs.h` lays them out, on a little-endian machine.

use super::*;
use crate::wire::Messages;

/// A number that the kernel might give to the family.
const FAMILY: u16 = 0x1c;

fn front() -> Front {
    Front { address: "10.96.0.1:443".parse().unwrap(), protocol: 6 }
}

fn server(persistence: Option<Duration>) -> VirtualServer {
    VirtualServer {
        front: front(),
        sharing: Sharing { scheduler: "rr".into(), persistence, hash_port: false },
    }
}

/// Address family, protocol, address and port of 10.96.0.1:443/tcp.
fn identity() -> Vec<u8> {
    [
        &[6, 0, 1, 0, 2, 0, 0, 0, 6, 0, 2, 0, 6, 0, 0, 0][..],
        &[20, 0, 3, 0, 10, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[6, 0, 4, 0, 1, 187, 0, 0],
    ]
    .concat()
}

fn headers(length: u8, flags: u16, command: u8) -> Vec<u8> {
    let mut bytes = vec![length, 0, 0, 0, 0x1c, 0];
    bytes.extend_from_slice(&(flags | 1).to_le_bytes());
    bytes.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, command, 1, 0, 0]);
    bytes
}

#[test]
fn the_family_is_asked_for_by_name() {
    let expected = [
        &[32, 0, 0, 0, 16, 0, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 2, 0, 0][..],
        &[9, 0, 2, 0, b'I', b'P', b'V', b'S', 0, 0, 0, 0],
    ];
    assert_eq!(ask_family().bytes(), expected.concat());
}

#[test]
fn a_virtual_server_is_added_with_its_persistence() {
    let writer = service(FAMILY, Verb::New, &server(Some(Duration::from_secs(10_800))));
    let expected = [
        headers(104, 4, 1),
        vec![84, 0, 1, 0x80],
        identity(),
        vec![7, 0, 6, 0, b'r', b'r', 0, 0],
        vec![12, 0, 7, 0, 1, 0, 0, 0, 255, 255, 255, 255],
        vec![8, 0, 8, 0, 0x30, 0x2a, 0, 0],
        vec![8, 0, 9, 0, 255, 255, 255, 255],
    ];
    assert_eq!(writer.bytes(), expected.concat());
}

#[test]
fn a_real_server_names_its_virtual_server_and_its_weight() {
    let real = RealServer { address: "10.244.1.2:8443".parse().unwrap(), weight: 3 };
    let writer = dest(FAMILY, Verb::Set, &front(), &real);
    let expected = [
        headers(140, 4, 6),
        vec![48, 0, 1, 0x80],
        identity(),
        vec![72, 0, 2, 0x80],
        vec![20, 0, 1, 0, 10, 244, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        vec![6, 0, 2, 0, 0x20, 0xfb, 0, 0, 6, 0, 11, 0, 2, 0, 0, 0],
        vec![8, 0, 3, 0, 0, 0, 0, 0, 8, 0, 4, 0, 3, 0, 0, 0],
        vec![8, 0, 5, 0, 0, 0, 0, 0, 8, 0, 6, 0, 0, 0, 0, 0],
    ];
    assert_eq!(writer.bytes(), expected.concat());
}

#[test]
fn removal_names_no_more_than_it_must() {
    let expected = [headers(68, 4, 3), vec![48, 0, 1, 0x80], identity()];
    assert_eq!(delete_service(FAMILY, &front()).bytes(), expected.concat());
    let real = "10.244.1.2:80".parse().unwrap();
    assert_eq!(delete_dest(FAMILY, &front(), real).bytes()[16], ipvs::CMD_DEL_DEST);
}

#[test]
fn virtual_servers_survive_the_wire() {
    let v6 = Front { address: "[fd00:96::1]:53".parse().unwrap(), protocol: 17 };
    let maglev = Sharing { scheduler: "mh".into(), persistence: None, hash_port: true };
    for server in
        [server(None), server(Some(Duration::from_secs(9))), VirtualServer { front: v6, sharing: maglev }]
    {
        let writer = service(FAMILY, Verb::New, &server);
        let read = Messages::new(writer.bytes()).find_map(|message| read_service(&message));
        assert_eq!(read, Some(server));
    }
}

#[test]
fn real_servers_are_read_with_their_connections() {
    let server = RealServer { address: "10.244.1.2:80".parse().unwrap(), weight: 1 };
    let mut writer = Writer::new();
    message(&mut writer, FAMILY, ipvs::CMD_NEW_DEST, 0, |message| {
        message.nest(ipvs::DEST, |dest| {
            write_place(dest, server.address);
            ne32(dest, ipvs::DEST_WEIGHT, server.weight);
            ne32(dest, ipvs::DEST_ACTIVE_CONNS, 2);
            ne32(dest, ipvs::DEST_INACT_CONNS, 3);
        });
    });
    let read = Messages::new(writer.bytes()).find_map(|message| read_dest(&message, &front()));
    assert_eq!(read, Some(HeldServer { server, connections: 5 }));
}

#[test]
fn timeouts_survive_the_wire() {
    let timeouts =
        Timeouts { tcp: Duration::from_secs(900), udp: Duration::from_secs(300), ..Timeouts::default() };
    let writer = set_timeouts(FAMILY, &timeouts);
    let read = Messages::new(writer.bytes()).find_map(|message| read_timeouts(&message));
    assert_eq!(read, Some(timeouts));
}

//! Messages of the ipset subsystem.

use std::fmt;

use super::{Entry, IpSet, SetType};
use crate::Family;
use crate::uapi::{ipset, netlink, nfnetlink};
use crate::wire::{Message, Writer};

/// How many entries one message carries: an attribute has room for 64 KiB.
pub(super) const ENTRIES_AT_ONCE: usize = 500;
/// Buckets of a new hash; it grows by itself.
pub(super) const HASH_SIZE: u32 = 1024;
/// How many entries a hash takes.
pub(super) const MAX_ELEMENTS: u32 = 65536;

/// What is done with entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Add,
    Delete,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Add { "add" } else { "delete" })
    }
}

fn message(writer: &mut Writer, command: u16, flags: u16, family: u8, body: impl FnOnce(&mut Writer)) {
    writer.message(nfnetlink::SUBSYS_IPSET << 8 | command, flags, 1, family, 0, |message| {
        message.raw(ipset::PROTOCOL, &[ipset::PROTOCOL_VERSION]);
        body(message);
    });
}

/// The family that the kernel keeps for a set.
fn family(set: &IpSet) -> u8 {
    if set.kind == SetType::BitmapPort { 0 } else { set.family.number() }
}

/// Asks which revisions of a type the kernel knows.
pub(super) fn ask_type(set: &IpSet) -> Writer {
    let mut writer = Writer::new();
    message(&mut writer, ipset::CMD_TYPE, netlink::NLM_F_ACK, set.family.number(), |message| {
        message.string(ipset::TYPENAME, set.kind.name());
        message.raw(ipset::FAMILY, &[family(set)]);
    });
    writer
}

/// The newest revision: newer ones add options, which are not used here.
pub(super) fn read_revision(message: &Message<'_>) -> Option<u8> {
    message.attributes().find(ipset::REVISION)?.value.first().copied()
}

pub(super) fn create(set: &IpSet, revision: u8) -> Writer {
    let mut writer = Writer::new();
    let flags = netlink::NLM_F_ACK | netlink::NLM_F_CREATE;
    message(&mut writer, ipset::CMD_CREATE, flags, set.family.number(), |message| {
        message.string(ipset::SETNAME, &set.name);
        message.string(ipset::TYPENAME, set.kind.name());
        message.raw(ipset::REVISION, &[revision]);
        message.raw(ipset::FAMILY, &[family(set)]);
        message.nest(ipset::DATA, |data| match set.kind {
            SetType::BitmapPort => {
                data.raw(ipset::PORT | netlink::NLA_F_NET_BYTEORDER, &[0, 0]);
                data.raw(ipset::PORT_TO | netlink::NLA_F_NET_BYTEORDER, &[0xff, 0xff]);
            }
            _ => {
                data.be32(ipset::HASHSIZE | netlink::NLA_F_NET_BYTEORDER, HASH_SIZE);
                data.be32(ipset::MAXELEM | netlink::NLA_F_NET_BYTEORDER, MAX_ELEMENTS);
            }
        });
    });
    writer
}

pub(super) fn change(verb: Verb, set: &IpSet, entries: &[Entry]) -> Writer {
    let mut writer = Writer::new();
    let command = if verb == Verb::Add { ipset::CMD_ADD } else { ipset::CMD_DEL };
    // Without NLM_F_EXCL it is no error when there is nothing to do.
    message(&mut writer, command, netlink::NLM_F_ACK, set.family.number(), |message| {
        message.string(ipset::SETNAME, &set.name);
        // The kernel counts entries here to say which one it refuses.
        message.raw(ipset::LINENO, &[0; 4]);
        message.nest(ipset::ADT, |list| {
            for entry in entries {
                list.nest(ipset::DATA, |data| entry.write(data));
            }
        });
    });
    writer
}

pub(super) fn list(writer: &mut Writer, name: &str) {
    message(writer, ipset::CMD_LIST, netlink::NLM_F_DUMP, Family::Ip.number(), |message| {
        message.string(ipset::SETNAME, name);
    });
}

pub(super) fn destroy(name: &str) -> Writer {
    let mut writer = Writer::new();
    message(&mut writer, ipset::CMD_DESTROY, netlink::NLM_F_ACK, Family::Ip.number(), |message| {
        message.string(ipset::SETNAME, name);
    });
    writer
}

/// The entries in one message of a list of a set of this type, which only the first message names.
pub(super) fn read_entries(kind: SetType, message: &Message<'_>) -> Option<Vec<Entry>> {
    let list = message.attributes().find(ipset::ADT)?.nested();
    let entries = list.filter(|data| data.kind == ipset::DATA);
    Some(entries.filter_map(|data| Entry::read(kind, data.nested())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Messages;

    fn set(kind: SetType) -> IpSet {
        IpSet { name: "S".into(), kind, family: Family::Ip }
    }

    #[test]
    fn a_set_is_created_with_the_bytes_that_ip_set_h_asks_for() {
        let writer = create(&set(SetType::HashIpPort), 5);
        let expected = [
            &[92, 0, 0, 0, 2, 6, 5, 4, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0][..], // headers
            &[5, 0, 1, 0, 6, 0, 0, 0],                                          // protocol
            &[6, 0, 2, 0, b'S', 0, 0, 0],                                       // name
            &[17, 0, 3, 0],
            b"hash:ip,port\0\0\0\0",
            &[5, 0, 4, 0, 5, 0, 0, 0],     // revision
            &[5, 0, 5, 0, 2, 0, 0, 0],     // family
            &[20, 0, 7, 0x80],             // data
            &[8, 0, 18, 0x40, 0, 0, 4, 0], // hash size
            &[8, 0, 19, 0x40, 0, 1, 0, 0], // most elements
        ];
        assert_eq!(writer.bytes(), expected.concat());
    }

    #[test]
    fn an_entry_is_added_with_the_bytes_that_ip_set_h_asks_for() {
        let entry = Entry::IpPort([10, 96, 0, 1].into(), 6, 443);
        let writer = change(Verb::Add, &set(SetType::HashIpPort), &[entry]);
        let expected = [
            &[80, 0, 0, 0, 9, 6, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0][..], // headers
            &[5, 0, 1, 0, 6, 0, 0, 0],                                          // protocol
            &[6, 0, 2, 0, b'S', 0, 0, 0],                                       // name
            &[8, 0, 9, 0, 0, 0, 0, 0],                                          // line
            &[36, 0, 8, 0x80, 32, 0, 7, 0x80],                                  // one entry
            &[12, 0, 1, 0x80, 8, 0, 1, 0x40, 10, 96, 0, 1],                     // address
            &[6, 0, 4, 0x40, 1, 187, 0, 0],                                     // port
            &[5, 0, 7, 0, 6, 0, 0, 0],                                          // protocol
        ];
        assert_eq!(writer.bytes(), expected.concat());
    }

    #[test]
    fn entries_of_each_type_survive_the_wire() {
        let (v4, v6) = ([10, 0, 0, 1].into(), "fd00::1".parse().unwrap());
        for entry in [
            Entry::Ip(v6),
            Entry::IpPort(v4, 132, 9),
            Entry::IpPortIp(v6, 6, 80, v6),
            Entry::IpPortNet(v4, 17, 53, [10, 1, 0, 0].into(), 16),
            Entry::Port(30000),
        ] {
            let set = set(entry.kind());
            let mut writer = Writer::new();
            writer.message(0x0607, 0, 1, 2, 0, |message| {
                message.nest(ipset::ADT, |list| list.nest(ipset::DATA, |data| entry.write(data)));
            });
            let read = Messages::new(writer.bytes()).find_map(|message| read_entries(set.kind, &message));
            assert_eq!(read, Some(vec![entry]), "{entry}");
        }
    }
}

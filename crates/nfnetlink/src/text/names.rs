//! Names that `nft` gives to what the kernel has numbers for.

use crate::Family;
use crate::datatype::DataType;
use crate::expr::MetaKey;

/// Bits of `ct state` and of `ct status`.
pub(super) const STATES: [(u32, &str); 5] =
    [(1, "invalid"), (2, "established"), (4, "related"), (8, "new"), (64, "untracked")];
pub(super) const STATUSES: [(u32, &str); 7] = [
    (1, "expected"),
    (2, "seen-reply"),
    (4, "assured"),
    (8, "confirmed"),
    (16, "snat"),
    (32, "dnat"),
    (512, "dying"),
];
/// Whether something is so.
pub(super) const TRUTH: [(u32, &str); 2] = [(0, "0"), (1, "1")];
/// Kinds of addresses, `RTN_*`.
pub(super) const ADDRESS_TYPES: [(u32, &str); 9] = [
    (0, "unspec"),
    (1, "unicast"),
    (2, "local"),
    (3, "broadcast"),
    (4, "anycast"),
    (5, "multicast"),
    (6, "blackhole"),
    (7, "unreachable"),
    (8, "prohibit"),
];
/// Names of the codes that a reject may carry: ICMP's, ICMPv6's, and those for either.
pub(super) const ICMP: [(u8, &str); 7] = [
    (0, "net-unreachable"),
    (1, "host-unreachable"),
    (2, "prot-unreachable"),
    (3, "port-unreachable"),
    (9, "net-prohibited"),
    (10, "host-prohibited"),
    (13, "admin-prohibited"),
];
pub(super) const ICMPV6: [(u8, &str); 6] = [
    (0, "no-route"),
    (1, "admin-prohibited"),
    (3, "addr-unreachable"),
    (4, "port-unreachable"),
    (5, "policy-fail"),
    (6, "reject-route"),
];
pub(super) const ICMPX: [(u8, &str); 4] =
    [(0, "no-route"), (1, "port-unreachable"), (2, "host-unreachable"), (3, "admin-prohibited")];

pub(super) fn meta_name(key: MetaKey) -> &'static str {
    match key {
        MetaKey::Mark => "mark",
        MetaKey::InterfaceName => "iifname",
        MetaKey::OutputInterfaceName => "oifname",
        MetaKey::Trace => "nftrace",
        MetaKey::NfProto => "nfproto",
        MetaKey::L4Proto => "l4proto",
    }
}

pub(super) fn meta_type(key: MetaKey) -> DataType {
    match key {
        MetaKey::Mark => DataType::Mark,
        MetaKey::InterfaceName | MetaKey::OutputInterfaceName => DataType::InterfaceName,
        MetaKey::L4Proto => DataType::InetProto,
        MetaKey::Trace | MetaKey::NfProto => DataType::Other { number: 0, size: 1 },
    }
}

pub(super) fn network_field(family: Family, offset: u32) -> Option<(&'static str, DataType)> {
    match (family, offset) {
        (Family::Ip, 12) => Some(("ip saddr", DataType::Ipv4Addr)),
        (Family::Ip, 16) => Some(("ip daddr", DataType::Ipv4Addr)),
        (Family::Ip, 9) => Some(("ip protocol", DataType::InetProto)),
        (Family::Ip6, 8) => Some(("ip6 saddr", DataType::Ipv6Addr)),
        (Family::Ip6, 24) => Some(("ip6 daddr", DataType::Ipv6Addr)),
        (Family::Ip6, 6) => Some(("ip6 nexthdr", DataType::InetProto)),
        _ => None,
    }
}

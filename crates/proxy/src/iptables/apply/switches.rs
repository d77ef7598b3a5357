//! Settings of the kernel (`Documentation/networking/ip-sysctl`, `nf_conntrack-sysctl`).

use std::fs;

use crate::xtables::Failure;
use crate::xtables::Place;

const ROUTE_LOCALNET: &str = "/proc/sys/net/ipv4/conf/all/route_localnet";
const TCP_BE_LIBERAL: &str = "/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal";

/// Lets packets from 127.0.0.1 leave the node once they are translated.
pub(super) fn route_localnet(place: &Place) -> Result<(), Failure> {
    place
        .run(|| match fs::read_to_string(ROUTE_LOCALNET) {
            Ok(value) if value.trim() == "1" => Ok(()),
            _ => fs::write(ROUTE_LOCALNET, "1"),
        })?
        .map_err(|error| Failure::Setting { path: ROUTE_LOCALNET, value: "1", error })
}

/// Whether the kernel takes packets for valid that are out of a connection's window.
pub(super) fn conntrack_liberal(place: &Place) -> bool {
    let value = place.run(|| fs::read_to_string(TCP_BE_LIBERAL));
    value.is_ok_and(|value| value.is_ok_and(|value| value.trim() != "0"))
}

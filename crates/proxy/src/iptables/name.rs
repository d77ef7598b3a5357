//! Names of chains, which tools recompute: kube-proxy's `portProtoHash` and its prefixes.

use std::net::SocketAddr;

use ring::digest::{SHA256, digest};
use service::ServiceName;
use service::objects::Protocol;

/// The alphabet of base32 (RFC 4648).
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// How many characters of the hash a name has: with the prefix they stay below the kernel's limit of 28.
const CHARACTERS: usize = 16;

/// What of a Service port goes into hashes: `namespace/name:port`, with the colon even if the port has no name. So
/// the names are those that are published for well-known examples, such as KUBE-SVC-KEAUNL7HVWWSEZA6 of
/// `default/my-service`; kube-proxy leaves the colon out since Kubernetes 1.18.
pub fn hashed_name(service: &ServiceName, port: &str) -> String {
    format!("{service}:{port}")
}

/// The chain of a Service port: a prefix such as `KUBE-SVC-` and the hash of [`hashed_name`] and protocol.
pub fn chain_name(prefix: &str, port: &str, protocol: Protocol) -> String {
    format!("{prefix}{}", hash(&format!("{port}{protocol}")))
}

/// The chain of an endpoint of a Service port.
pub fn endpoint_chain_name(port: &str, protocol: Protocol, endpoint: SocketAddr) -> String {
    format!("{}{}", super::compile::ENDPOINT, hash(&format!("{port}{protocol}{endpoint}")))
}

/// The first characters of the SHA-256 in base32.
fn hash(text: &str) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    let bits = |at: usize| {
        // Five bits may lie in two bytes; the digest is longer than what is read.
        let pair = u16::from_be_bytes([digest.as_ref()[at / 8], digest.as_ref()[at / 8 + 1]]);
        usize::from(pair >> (11 - at % 8) & 31)
    };
    (0..CHARACTERS).map(|character| char::from(ALPHABET[bits(5 * character)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_of_services_are_named_as_kube_proxy_names_them() {
        let known = [
            ("default/my-service:", "KEAUNL7HVWWSEZA6"),
            ("default/httpd-svc:", "RL3JAE4GN7VOGDGP"),
            ("ns1/svc1:p80", "XPGD46QRK7WJZT7O"),
            ("ns2/svc2:p80", "GNZBNJ2PO5MGZ6GT"),
            ("ns3/svc3:p80", "X27LE4BHSL4DOUIK"),
            ("ns4/svc4:p80", "4SW47YFZTEDKD3PK"),
            ("ns5/svc5:p80", "NUKIZ6OKUXPJNT4C"),
        ];
        for (port, hash) in known {
            assert_eq!(chain_name("KUBE-SVC-", port, Protocol::Tcp), format!("KUBE-SVC-{hash}"));
        }
    }

    #[test]
    fn chains_of_endpoints_are_named_as_kube_proxy_names_them() {
        let known = [
            ("default/my-service:", "10.42.0.7:80", "SKMF2UJJQ24AYOPG"),
            ("ns1/svc1:p80", "10.180.0.1:80", "SXIVWICOYRO3J4NJ"),
            ("ns5/svc5:p80", "10.180.0.3:80", "I77PXRDZVX7PMWMN"),
        ];
        for (port, endpoint, hash) in known {
            let name = endpoint_chain_name(port, Protocol::Tcp, endpoint.parse().unwrap());
            assert_eq!(name, format!("KUBE-SEP-{hash}"));
        }
    }

    #[test]
    fn a_port_without_a_name_keeps_its_colon_in_hashes() {
        let service = ServiceName::new("default", "my-service");
        let chain = chain_name("KUBE-SVC-", &hashed_name(&service, ""), Protocol::Tcp);
        assert_eq!(chain, "KUBE-SVC-KEAUNL7HVWWSEZA6");
    }
}

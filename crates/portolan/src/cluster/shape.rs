//! What a cluster cannot change once it has objects: its ranges of addresses and its domain.

use std::net::IpAddr;

use anyhow::bail;
use serde::{Deserialize, Serialize};
use service::Cidr;

/// The ranges and the domain, as they are written on the command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    /// The addresses of Services.
    pub(crate) service_cidr: String,
    /// The addresses of pods.
    pub(crate) cluster_cidr: String,
    /// The DNS domain.
    pub(crate) cluster_domain: String,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            service_cidr: "10.96.0.0/16".to_owned(),
            cluster_cidr: "10.244.0.0/16".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
        }
    }
}

/// What was asked for on the command line; what was not takes the recorded value, or the default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) service_cidr: Option<String>,
    pub(crate) cluster_cidr: Option<String>,
    pub(crate) cluster_domain: Option<String>,
}

impl Asked {
    /// The shape of the cluster `name`, which was made with `recorded` if it exists.
    ///
    /// # Errors
    /// Something else is asked for than the cluster was made with.
    pub(crate) fn settle(self, name: &str, recorded: Option<&Shape>) -> anyhow::Result<Shape> {
        let settle = |flag: &str, asked: Option<String>, default: &str, made: Option<&String>| match (
            asked, made,
        ) {
            (Some(asked), Some(made)) if asked != *made => bail!(
                "cluster {name} was made with {flag} {made}, and its objects have addresses and names of that; leave \
                 {flag} away to continue it, or remove the cluster (portolan down --name {name}) to make another"
            ),
            (Some(asked), _) => Ok(asked),
            (None, made) => Ok(made.cloned().unwrap_or_else(|| default.to_owned())),
        };
        let default = Shape::default();
        Ok(Shape {
            service_cidr: settle(
                "--service-cidr",
                self.service_cidr,
                &default.service_cidr,
                recorded.map(|shape| &shape.service_cidr),
            )?,
            cluster_cidr: settle(
                "--cluster-cidr",
                self.cluster_cidr,
                &default.cluster_cidr,
                recorded.map(|shape| &shape.cluster_cidr),
            )?,
            cluster_domain: settle(
                "--cluster-domain",
                self.cluster_domain,
                &default.cluster_domain,
                recorded.map(|shape| &shape.cluster_domain),
            )?,
        })
    }
}

/// Addresses that mean something else everywhere (RFC 6890, and multicast: RFC 5771, RFC 4291).
const SPECIAL: [(&str, &str); 8] = [
    ("unspecified", "0.0.0.0/8"),
    ("loopback", "127.0.0.0/8"),
    ("link-local", "169.254.0.0/16"),
    ("multicast", "224.0.0.0/4"),
    ("reserved", "240.0.0.0/4"),
    ("loopback", "::/127"),
    ("link-local", "fe80::/10"),
    ("multicast", "ff00::/8"),
];

/// The address of a range that is the DNS server's, so that a range of Services has more than so many.
const DNS: u128 = 10;

impl Shape {
    /// Refuses ranges that share addresses with each other, with the `machines` or with what addresses mean
    /// everywhere: packets to those would be taken for others. Refuses ranges of two families, between which there is
    /// no way, and a range of Services too narrow for the cluster's own.
    ///
    /// # Errors
    /// Says which two, or which one.
    pub(crate) fn check(&self, machines: &[(String, Cidr)]) -> anyhow::Result<()> {
        let own = [
            (format!("--service-cidr {}", self.service_cidr), self.service_cidr.parse::<Cidr>()?),
            (format!("--cluster-cidr {}", self.cluster_cidr), self.cluster_cidr.parse::<Cidr>()?),
        ];
        let [(service, services), (pod, pods)] = &own;
        if services.address().is_ipv4() != pods.address().is_ipv4() {
            bail!(
                "{service} and {pod} are of two families; choose ranges of one, or no pod reaches a Service"
            );
        }
        let (first, last) = services.bounds();
        if last - first <= DNS {
            bail!(
                "{service} is too narrow: its first and its tenth address are the cluster's own; choose a wider range"
            );
        }
        let special =
            SPECIAL.iter().map(|(what, range)| Ok((format!("the {what} addresses {range}"), range.parse()?)));
        let special = special.collect::<anyhow::Result<Vec<(String, Cidr)>>>()?;
        let all: Vec<&(String, Cidr)> = own.iter().chain(machines).chain(&special).collect();
        for (number, (first, range)) in own.iter().enumerate() {
            for (second, other) in &all[number + 1..] {
                if overlap(range, other) {
                    bail!("{first} and {second} have addresses in common; choose ranges that share none");
                }
            }
        }
        Ok(())
    }
}

fn overlap(first: &Cidr, second: &Cidr) -> bool {
    let ((start, end), (other_start, other_end)) = (first.bounds(), second.bounds());
    first.address().is_ipv4() == second.address().is_ipv4() && start <= other_end && other_start <= end
}

/// The network of one address.
pub(crate) fn machine(address: IpAddr) -> (String, Cidr) {
    (format!("this machine's address {address}"), Cidr::host(address))
}

/// Reads the DNS domain of a cluster (RFC 1123, section 2.1, in lower case as everywhere in Kubernetes).
///
/// # Errors
/// Text that is no domain.
pub(crate) fn parse_domain(text: &str) -> Result<String, InvalidDomain> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // The longest name of a pod in the domain must still be a name.
    if text.len() <= 100 && text.split('.').all(is_label) { Ok(text.to_owned()) } else { Err(InvalidDomain) }
}

/// Text that is no DNS domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "use labels of lower case letters, digits and '-' inside, joined by dots, at most 100 characters, for example cluster.local"
)]
pub(crate) struct InvalidDomain;

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(service: &str, pods: &str) -> Shape {
        Shape { service_cidr: service.into(), cluster_cidr: pods.into(), ..Shape::default() }
    }

    #[test]
    fn ranges_share_no_address_with_each_other_or_with_machines() {
        let machines = [("the sandbox's network 172.30.0.0/24".to_owned(), "172.30.0.0/24".parse().unwrap())];
        for (service, pods, clash) in [
            ("10.96.0.0/16", "10.244.0.0/16", None),
            ("10.96.0.0/16", "10.96.128.0/17", Some("--service-cidr 10.96.0.0/16 and --cluster-cidr")),
            ("10.96.0.0/16", "10.0.0.0/8", Some("--service-cidr 10.96.0.0/16 and --cluster-cidr")),
            ("172.30.0.128/25", "10.244.0.0/16", Some("--service-cidr 172.30.0.128/25 and the sandbox's")),
            ("10.96.0.0/16", "172.16.0.0/12", Some("--cluster-cidr 172.16.0.0/12 and the sandbox's")),
            ("fd00:1::/112", "fd00:2::/48", None),
            (
                "fd00:1::/112",
                "10.244.0.0/16",
                Some("--service-cidr fd00:1::/112 and --cluster-cidr 10.244.0.0/16 are"),
            ),
            ("127.0.0.0/8", "10.244.0.0/16", Some("--service-cidr 127.0.0.0/8 and the loopback")),
            ("10.96.0.0/16", "224.0.0.0/8", Some("--cluster-cidr 224.0.0.0/8 and the multicast")),
            ("169.254.0.0/16", "10.244.0.0/16", Some("--service-cidr 169.254.0.0/16 and the link-local")),
            ("fe80:1::/112", "fd00:2::/48", Some("--service-cidr fe80:1::/112 and the link-local")),
            ("0.0.0.0/2", "100.0.0.0/16", Some("--service-cidr 0.0.0.0/2 and the unspecified")),
            ("10.96.0.0/28", "10.244.0.0/16", None),
            ("10.96.0.0/29", "10.244.0.0/16", Some("--service-cidr 10.96.0.0/29 is too narrow")),
            ("10.96.0.0/32", "10.244.0.0/16", Some("--service-cidr 10.96.0.0/32 is too narrow")),
        ] {
            let said = shape(service, pods).check(&machines).map_err(|error| error.to_string());
            match clash {
                None => assert_eq!(said, Ok(())),
                Some(clash) => assert!(said.unwrap_err().starts_with(clash), "{service} {pods}"),
            }
        }
        let own = [machine([10, 96, 3, 4].into())];
        let said = shape("10.96.0.0/16", "10.244.0.0/16").check(&own).unwrap_err().to_string();
        assert!(said.contains("this machine's address 10.96.3.4"), "{said}");
    }

    #[test]
    fn a_cluster_continues_with_what_it_was_made_with() {
        let made = shape("10.1.0.0/16", "10.2.0.0/16");
        assert_eq!(Asked::default().settle("c", Some(&made)).unwrap(), made);
        assert_eq!(Asked::default().settle("c", None).unwrap(), Shape::default());
        let same = Asked { service_cidr: Some("10.1.0.0/16".into()), ..Asked::default() };
        assert_eq!(same.settle("c", Some(&made)).unwrap(), made);
        for asked in [
            Asked { service_cidr: Some("10.3.0.0/16".into()), ..Asked::default() },
            Asked { cluster_cidr: Some("10.3.0.0/16".into()), ..Asked::default() },
            Asked { cluster_domain: Some("x.local".into()), ..Asked::default() },
        ] {
            let said = asked.settle("c", Some(&made)).unwrap_err().to_string();
            assert!(
                said.starts_with("cluster c was made with --") && said.contains("portolan down"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_domain_is_a_dns_name() {
        for (text, valid) in [
            ("cluster.local", true),
            ("local", true),
            ("a-1.b", true),
            ("a b", false),
            ("", false),
            ("a..b", false),
            (".a", false),
            ("a.", false),
            ("A.b", false),
            ("-a.b", false),
            ("a_b", false),
        ] {
            assert_eq!(parse_domain(text).is_ok(), valid, "{text:?}");
        }
        assert_eq!(parse_domain(&"a.".repeat(60)), Err(InvalidDomain));
    }
}

//! The records: as objects for those that watch, and as a zone file for NSD.

use std::fmt::Write;

use serde_json::{Value, json};

/// The Namespaces over which Services are spread.
pub(super) const NAMESPACES: usize = 10;
/// How many endpoints a headless Service has.
pub(super) const ENDPOINTS: usize = 100;
/// Seconds for which a record may be kept.
const TTL: u32 = 30;

/// How many Services of each sort there are.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Records {
    /// Services with an address.
    pub(super) services: usize,
    /// Headless Services.
    pub(super) headless: usize,
}

/// The namespace of a Service by its number.
pub(super) fn namespace(number: usize) -> String {
    format!("n{}", number % NAMESPACES)
}

/// The Namespaces.
pub(super) fn namespaces() -> impl Iterator<Item = Value> {
    (0..NAMESPACES).map(|number| json!({"metadata": {"name": namespace(number)}}))
}

/// The collection of the EndpointSlices of a Service.
pub(super) fn slices(number: usize) -> String {
    format!("/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices", namespace(number))
}

fn cluster_ip(number: usize) -> String {
    format!("10.96.{}.{}", 10 + number / 250, 1 + number % 250)
}

fn endpoint_ip(number: usize, endpoint: usize) -> String {
    let place = number * ENDPOINTS + endpoint;
    format!("10.{}.{}.{}", 100 + place / 62_500, place / 250 % 250, 1 + place % 250)
}

/// The endpoints of a headless Service; the first is another one in each version but 0.
pub(super) fn endpoints(number: usize, version: usize) -> Vec<Value> {
    let address = |endpoint| match (endpoint, version) {
        (0, 1..) => changed_ip(version),
        _ => endpoint_ip(number, endpoint),
    };
    let endpoint = |ip: String| json!({"addresses": [ip], "conditions": {"ready": true}});
    (0..ENDPOINTS).map(|index| endpoint(address(index))).collect()
}

/// The address of the endpoint that a version has.
pub(super) fn changed_ip(version: usize) -> String {
    format!("10.99.{}.{}", version / 250 % 250, 1 + version % 250)
}

impl Records {
    /// How many endpoints the headless Services have.
    pub(super) fn endpoints(self) -> usize {
        self.headless * ENDPOINTS
    }

    /// The objects, each with its collection, without those that are there.
    pub(super) fn objects(self, there: Self) -> impl Iterator<Item = (String, Value)> {
        let collection = |number| format!("/api/v1/namespaces/{}/services", namespace(number));
        let port = json!([{"name": "http", "port": 80}]);
        let headless_port = port.clone();
        let services = (there.services..self.services).map(move |number| {
            let spec = json!({"clusterIP": cluster_ip(number), "ports": port});
            (collection(number), json!({"metadata": {"name": format!("s{number}")}, "spec": spec}))
        });
        let headless = (there.headless..self.headless).flat_map(move |number| {
            let spec = json!({"clusterIP": "None", "ports": headless_port});
            let name = format!("h{number}");
            let slice = json!({
                "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
                "endpoints": endpoints(number, 0),
            });
            let service = json!({"metadata": {"name": name}, "spec": spec});
            [(collection(number), service), (slices(number), slice)]
        });
        services.chain(headless)
    }

    /// The same as a zone file of `cluster.local` (RFC 1035, section 5).
    pub(super) fn zone(self) -> String {
        let mut zone = format!(
            "$ORIGIN cluster.local.\n$TTL {TTL}\n\
             @ SOA ns.dns hostmaster 1 7200 1800 86400 {TTL}\n@ NS ns.dns\nns.dns A 127.0.0.1\n"
        );
        for number in 0..self.services {
            let name = format!("s{number}.{}.svc", namespace(number));
            let _ = writeln!(zone, "{name} A {}\n_http._tcp.{name} SRV 0 100 80 {name}", cluster_ip(number));
        }
        for number in 0..self.headless {
            let name = format!("h{number}.{}.svc", namespace(number));
            for endpoint in 0..ENDPOINTS {
                let ip = endpoint_ip(number, endpoint);
                let host = format!("{}.{name}", ip.replace('.', "-"));
                let _ = writeln!(zone, "{name} A {ip}\n{host} A {ip}\n_http._tcp.{name} SRV 0 1 8080 {host}");
            }
        }
        zone
    }
}

/// The zones of the upstream: one with few names, one in which every name exists.
pub(super) fn outside() -> [(&'static str, String); 2] {
    let head = format!("$TTL 300\n@ SOA ns mail 1 7200 1800 86400 {TTL}\n@ NS ns\nns A 127.0.0.1\n");
    let few = (0..super::mixes::CACHED).fold(head.clone(), |mut zone, number| {
        let _ = writeln!(zone, "w{number} A 198.51.{}.{}", number / 250, 1 + number % 250);
        zone
    });
    [("example.com", few), ("example.org", head + "* A 198.51.100.1\n")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_and_zone_tell_the_same_addresses() {
        let records = Records { services: 3, headless: 2 };
        let zone = records.zone();
        for (_, object) in records.objects(Records::default()) {
            if let Some(ip) = object["spec"]["clusterIP"].as_str().filter(|ip| *ip != "None") {
                assert!(zone.contains(&format!(" A {ip}\n")), "{ip}");
            }
            for endpoint in object["endpoints"].as_array().into_iter().flatten() {
                let ip = endpoint["addresses"][0].as_str().unwrap();
                assert_eq!(zone.matches(&format!(" A {ip}\n")).count(), 2);
            }
        }
        assert_eq!(records.objects(Records { services: 1, headless: 1 }).count(), 4);
    }
}

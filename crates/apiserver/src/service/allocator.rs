//! Which Service has which address and node ports.
//!
//! The store is the truth; this is its index, rebuilt at start. A request takes what it needs
//! first, writes the object, and keeps or returns what it took: two requests never get the same.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use api::field::FieldError;
use api::schema::Kind;
use api::status::Status;
use serde_json::{Value, json};

use super::{IpRange, PortRange, has_node_ports, kind_of, node_port, ports};
use crate::object::{meta_str, section};

/// The allocations of one cluster.
#[derive(Debug)]
pub(crate) struct Allocator {
    addresses: IpRange,
    node_ports: PortRange,
    taken: Mutex<Taken>,
}

/// A node port belongs to a port number and protocol; one number may serve several protocols.
type NodePort = (u16, String);

#[derive(Debug, Default)]
struct Taken {
    addresses: HashSet<IpAddr>,
    /// Who holds a number: the protocols.
    node_ports: HashMap<u16, Vec<String>>,
}

impl Taken {
    fn has(&self, number: u16, protocol: &str) -> bool {
        self.node_ports.get(&number).is_some_and(|held| held.iter().any(|one| one == protocol))
    }

    /// Takes a node port; whether nobody had it.
    fn take(&mut self, (number, protocol): &NodePort) -> bool {
        let free = !self.has(*number, protocol);
        if free {
            self.node_ports.entry(*number).or_default().push(protocol.clone());
        }
        free
    }

    fn give_back(&mut self, (number, protocol): &NodePort) {
        if let Some(held) = self.node_ports.get_mut(number) {
            held.retain(|one| one != protocol);
            if held.is_empty() {
                self.node_ports.remove(number);
            }
        }
    }
}

/// What one Service holds.
#[derive(Debug, Default)]
struct Holdings {
    addresses: Vec<IpAddr>,
    node_ports: HashSet<NodePort>,
}

impl Holdings {
    fn of(service: &Value) -> Self {
        if kind_of(service) == "ExternalName" {
            return Self::default();
        }
        let listed = service["spec"]["clusterIPs"].as_array().into_iter().flatten();
        let mut addresses: Vec<IpAddr> = std::iter::once(&service["spec"]["clusterIP"])
            .chain(listed)
            .filter_map(|value| value.as_str()?.parse().ok())
            .collect();
        addresses.dedup();
        let node_ports = ports(service).filter_map(|port| Some((node_port(port)?, protocol(port)))).collect();
        Self { addresses, node_ports }
    }
}

fn protocol(port: &Value) -> String {
    port["protocol"].as_str().unwrap_or("TCP").to_owned()
}

/// Taken but not yet written allocations; dropping it returns them.
#[derive(Debug)]
#[must_use]
pub(crate) struct Allocation<'a> {
    allocator: &'a Allocator,
    new: Holdings,
    superseded: Holdings,
}

impl Allocation<'_> {
    /// The object has been written: the new values stay, those it no longer uses go.
    pub(crate) fn keep(mut self) {
        self.allocator.give_back(&self.superseded);
        self.new = Holdings::default();
    }
}

impl Drop for Allocation<'_> {
    fn drop(&mut self) {
        self.allocator.give_back(&self.new);
    }
}

impl Allocator {
    /// An allocator with nothing taken.
    pub(crate) fn new(addresses: IpRange, node_ports: PortRange) -> Self {
        Self { addresses, node_ports, taken: Mutex::default() }
    }

    /// The address of the `kubernetes` Service.
    pub(crate) fn first_ip(&self) -> IpAddr {
        self.addresses.first()
    }

    /// Notes what a stored Service holds.
    pub(crate) fn adopt(&self, service: &Value) {
        let holdings = Holdings::of(service);
        let mut taken = self.lock();
        taken.addresses.extend(holdings.addresses);
        for port in &holdings.node_ports {
            taken.take(port);
        }
    }

    /// Returns what a deleted Service held.
    pub(crate) fn release(&self, service: &Value) {
        self.give_back(&Holdings::of(service));
    }

    /// Gives a new or changed Service what it needs and writes it into the object.
    ///
    /// # Errors
    /// A value that the client chose is taken or out of range, or nothing is left to give.
    pub(crate) fn allocate(
        &self,
        kind: &Kind,
        old: Option<&Value>,
        service: &mut Value,
    ) -> Result<Allocation<'_>, Status> {
        let before = old.map(Holdings::of).unwrap_or_default();
        let mut allocation =
            Allocation { allocator: self, new: Holdings::default(), superseded: Holdings::default() };
        if kind_of(service) != "ExternalName" {
            self.take_address(kind, &before, service, &mut allocation.new)?;
            self.take_node_ports(kind, &before, service, &mut allocation.new)?;
        }
        let after = Holdings::of(service);
        allocation.superseded = Holdings {
            addresses: before.addresses.into_iter().filter(|ip| !after.addresses.contains(ip)).collect(),
            node_ports: before
                .node_ports
                .into_iter()
                .filter(|port| !after.node_ports.contains(port))
                .collect(),
        };
        Ok(allocation)
    }

    fn take_address(
        &self,
        kind: &Kind,
        before: &Holdings,
        service: &mut Value,
        new: &mut Holdings,
    ) -> Result<(), Status> {
        let name = meta_str(service, "name").to_owned();
        let chosen = {
            let spec = &service["spec"];
            let first = spec["clusterIPs"][0].as_str().filter(|ip| !ip.is_empty());
            spec["clusterIP"].as_str().filter(|ip| !ip.is_empty()).or(first).map(str::to_owned)
        };
        let address = match chosen.as_deref() {
            Some("None") => None,
            Some(text) => {
                let invalid = |detail: String| {
                    let error = FieldError::invalid("spec.clusterIPs", json!([text]), detail);
                    Status::invalid(kind, &name, vec![error])
                };
                let address: IpAddr = text.parse().map_err(|_| {
                    invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned())
                })?;
                if !before.addresses.contains(&address) {
                    if self.addresses.offset(address).is_none() {
                        return Err(invalid(format!(
                            "failed to allocate IP {address}: the provided IP ({address}) is not in the valid range. The range of valid IPs is {}",
                            self.addresses
                        )));
                    }
                    if !self.lock().addresses.insert(address) {
                        return Err(invalid(format!(
                            "failed to allocate IP {address}: provided IP is already allocated"
                        )));
                    }
                    new.addresses.push(address);
                }
                Some(address)
            }
            None => {
                let address = self.free_address().ok_or_else(|| {
                    Status::internal(format!(
                        "failed to allocate a serviceIP for Service {name:?}: range is full"
                    ))
                })?;
                new.addresses.push(address);
                Some(address)
            }
        };
        let text = address.map_or_else(|| "None".to_owned(), |address| address.to_string());
        let spec = section(service, "spec");
        let selectorless =
            spec.get("selector").and_then(Value::as_object).is_none_or(serde_json::Map::is_empty);
        spec.insert("clusterIP".to_owned(), text.clone().into());
        spec.insert("clusterIPs".to_owned(), json!([text]));
        if spec.get("ipFamilies").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            let families = match address {
                None if selectorless => json!(["IPv4", "IPv6"]),
                _ => json!([self.addresses.family()]),
            };
            let policy =
                if families.as_array().map_or(0, Vec::len) == 2 { "RequireDualStack" } else { "SingleStack" };
            spec.insert("ipFamilies".to_owned(), families);
            spec.entry("ipFamilyPolicy").or_insert_with(|| policy.into());
        }
        spec.entry("ipFamilyPolicy").or_insert_with(|| "SingleStack".into());
        Ok(())
    }

    /// Ports of one number share a node port whatever their protocol.
    fn take_node_ports(
        &self,
        kind: &Kind,
        before: &Holdings,
        service: &mut Value,
        new: &mut Holdings,
    ) -> Result<(), Status> {
        let name = meta_str(service, "name").to_owned();
        let automatic = has_node_ports(service);
        let mut shared: HashMap<i64, u16> = HashMap::new();
        for index in 0..ports(service).count() {
            let port = &service["spec"]["ports"][index];
            let (number, proto) = (port["port"].as_i64().unwrap_or(0), protocol(port));
            let invalid = |wanted: i64, detail: &str| {
                let path = format!("spec.ports[{index}].nodePort");
                Status::invalid(kind, &name, vec![FieldError::invalid(path, wanted, detail)])
            };
            let outside = |wanted: i64| {
                let range = format!("The range of valid ports is {}", self.node_ports);
                invalid(wanted, &format!("provided port is not in the valid range. {range}"))
            };
            let asked = port["nodePort"].as_i64().unwrap_or(0);
            let given = match node_port(port) {
                // What no port can be is refused as well, and not taken for one that was left out.
                None if asked != 0 => return Err(outside(asked)),
                Some(wanted) => {
                    let own = (wanted, proto);
                    if !before.node_ports.contains(&own) {
                        if !self.node_ports.ports().contains(&wanted) {
                            return Err(outside(asked));
                        }
                        let mut taken = self.lock();
                        let mine = |proto: &String| {
                            let held = (wanted, proto.clone());
                            new.node_ports.contains(&held) || before.node_ports.contains(&held)
                        };
                        let all_mine = taken.node_ports.get(&wanted).is_none_or(|held| held.iter().all(mine));
                        if !all_mine || !taken.take(&own) {
                            return Err(invalid(asked, "provided port is already allocated"));
                        }
                        new.node_ports.insert(own);
                    }
                    wanted
                }
                None if !automatic => continue,
                None => {
                    let mut taken = self.lock();
                    let free = |port| !taken.node_ports.contains_key(&port);
                    let chosen = shared
                        .get(&number)
                        .copied()
                        .filter(|port| !taken.has(*port, &proto))
                        .or_else(|| pick(self.node_ports.ports(), self.node_ports.band(), free))
                        .ok_or_else(|| Status::internal("failed to allocate a nodePort: range is full"))?;
                    let own = (chosen, proto);
                    taken.take(&own);
                    new.node_ports.insert(own);
                    chosen
                }
            };
            shared.entry(number).or_insert(given);
            service["spec"]["ports"][index]["nodePort"] = given.into();
        }
        Ok(())
    }

    fn free_address(&self) -> Option<IpAddr> {
        let mut taken = self.lock();
        let usable = self.addresses.usable();
        let offset = pick(usable, self.addresses.band(), |offset| {
            !taken.addresses.contains(&self.addresses.at(offset))
        })?;
        let address = self.addresses.at(offset);
        taken.addresses.insert(address);
        Some(address)
    }

    fn give_back(&self, holdings: &Holdings) {
        let mut taken = self.lock();
        for address in &holdings.addresses {
            taken.addresses.remove(address);
        }
        for port in &holdings.node_ports {
            taken.give_back(port);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A free number: from a random start in the band upwards and around, then below the band.
fn pick<N>(range: std::ops::RangeInclusive<N>, band: N, free: impl Fn(N) -> bool) -> Option<N>
where
    N: Copy + Ord + Into<u64> + TryFrom<u64>,
{
    let (first, last): (u64, u64) = ((*range.start()).into(), (*range.end()).into());
    let band: u64 = band.into().clamp(first, last);
    let start = fastrand::u64(band..=last);
    (start..=last)
        .chain(band..start)
        .chain(first..band)
        .filter_map(|number| N::try_from(number).ok())
        .find(|number| free(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind() -> &'static Kind {
        api::schema::Schema::builtin().resource("", "v1", "services").unwrap()
    }

    fn allocator(cidr: &str, ports: &str) -> Allocator {
        Allocator::new(cidr.parse().unwrap(), ports.parse().unwrap())
    }

    fn create(allocator: &Allocator, mut service: Value) -> Result<Value, Status> {
        allocator.allocate(kind(), None, &mut service)?.keep();
        Ok(service)
    }

    #[test]
    fn automatic_addresses_come_from_the_upper_band_and_then_from_the_lower() {
        let allocator = allocator("10.0.0.0/27", "30000-30001");
        let mut given = Vec::new();
        for _ in 0..30 {
            let service = create(&allocator, json!({"metadata": {"name": "a"}, "spec": {}})).unwrap();
            given.push(service["spec"]["clusterIP"].as_str().unwrap().parse::<IpAddr>().unwrap());
        }
        let octet = |ip: &IpAddr| ip.to_string().rsplit('.').next().unwrap().parse::<u8>().unwrap();
        assert!(given[..15].iter().all(|ip| octet(ip) >= 16), "{given:?}");
        let full = create(&allocator, json!({"spec": {}})).unwrap_err();
        assert!(full.message.contains("range is full"), "{full}");
    }

    #[test]
    fn a_chosen_address_is_honoured_and_refused_when_taken_or_outside() {
        let allocator = allocator("10.96.0.0/16", "30000-32767");
        let service = |ip: &str| json!({"metadata": {"name": "a"}, "spec": {"clusterIP": ip}});
        assert_eq!(
            create(&allocator, service("10.96.0.50")).unwrap()["spec"]["clusterIPs"],
            json!(["10.96.0.50"])
        );
        let taken = create(&allocator, service("10.96.0.50")).unwrap_err();
        assert_eq!(
            taken.message,
            "Service \"a\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.50\"]: failed to allocate IP 10.96.0.50: provided IP is already allocated"
        );
        let outside = create(&allocator, service("10.97.0.1")).unwrap_err();
        assert!(
            outside.message.ends_with("the provided IP (10.97.0.1) is not in the valid range. The range of valid IPs is 10.96.0.0/16"),
            "{outside}"
        );
    }

    #[test]
    fn what_a_failed_request_took_is_free_again() {
        let allocator = allocator("10.96.0.0/16", "30000-30000");
        let wanted = json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.9", "ports": [{"port": 80}]}});
        drop(allocator.allocate(kind(), None, &mut wanted.clone()).unwrap());
        assert_eq!(create(&allocator, wanted).unwrap()["spec"]["ports"][0]["nodePort"], 30000);
    }

    #[test]
    fn ports_of_one_number_share_a_node_port_over_protocols() {
        let allocator = allocator("10.96.0.0/16", "30000-32767");
        let ports = json!([{"name": "u", "port": 53, "protocol": "UDP"}, {"name": "t", "port": 53, "protocol": "TCP"}]);
        let service = create(&allocator, json!({"spec": {"type": "NodePort", "ports": ports}})).unwrap();
        assert_eq!(service["spec"]["ports"][0]["nodePort"], service["spec"]["ports"][1]["nodePort"]);
    }

    #[test]
    fn a_taken_or_foreign_node_port_is_refused_with_its_path() {
        let allocator = allocator("10.96.0.0/16", "30000-32767");
        let service = |port: i64| json!({"metadata": {"name": "a"}, "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}});
        create(&allocator, service(31688)).unwrap();
        let taken = create(&allocator, service(31688)).unwrap_err();
        assert_eq!(
            taken.message,
            "Service \"a\" is invalid: spec.ports[0].nodePort: Invalid value: 31688: provided port is already allocated"
        );
        for port in [80, -1, 65_536, 65_536 + 31_000, i64::from(i32::MAX), i64::MIN] {
            let outside = create(&allocator, service(port)).unwrap_err();
            assert!(outside.message.contains(&format!("nodePort: Invalid value: {port}: ")), "{outside}");
            assert!(outside.message.ends_with("The range of valid ports is 30000-32767"), "{outside}");
        }
    }

    #[test]
    fn an_update_keeps_its_own_and_returns_what_it_drops() {
        let allocator = allocator("10.96.0.0/16", "30000-30000");
        let old = create(&allocator, json!({"spec": {"type": "NodePort", "ports": [{"port": 80}]}})).unwrap();
        let mut new = old.clone();
        new["spec"]["type"] = json!("ClusterIP");
        new["spec"]["ports"] = json!([{"port": 80}]);
        allocator.allocate(kind(), Some(&old), &mut new).unwrap().keep();
        assert_eq!(new["spec"]["clusterIP"], old["spec"]["clusterIP"]);
        create(&allocator, json!({"spec": {"type": "NodePort", "ports": [{"port": 81}]}})).unwrap();
    }

    #[test]
    fn a_headless_service_without_selector_has_both_families() {
        let allocator = allocator("10.96.0.0/16", "30000-32767");
        let service = create(&allocator, json!({"spec": {"clusterIP": "None"}})).unwrap();
        assert_eq!(service["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
        assert_eq!(service["spec"]["ipFamilyPolicy"], "RequireDualStack");
    }
}

//! The name servers of a zone.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{AddressSource, Reading, Records, View};

/// The name of this server if no Service leads to it, in wire form in front of the domain.
pub(crate) const OWN_NAME: &[u8] = b"\x02ns\x03dns";
/// The label between a Service and the domain, in wire form.
pub(crate) const SVC: &[u8] = b"\x03svc";

/// The name of a name server, in wire form in front of the zone, and one of its addresses.
pub(crate) type NameServer = (Vec<u8>, IpAddr);

impl View {
    /// The name servers of a zone, each with one of its addresses.
    ///
    /// As in CoreDNS they are the Services that this server is an endpoint of, since the addresses of a pod may change
    /// at any time. If there is none, it is the server itself.
    pub(crate) fn name_servers(&self, reading: &Reading<'_>) -> BTreeSet<NameServer> {
        let own = || self.servers().iter().copied();
        let pointers = own().flat_map(|address| self.pointers(reading, address));
        let fronts = pointers.filter_map(|pointer| reading.service(pointer.key));
        let servers: BTreeSet<_> = fronts.flat_map(Records::by_name).collect();
        if servers.is_empty() { own().map(|address| (OWN_NAME.to_vec(), address)).collect() } else { servers }
    }
}

impl Records {
    /// The Service with each of its addresses, or if it is headless the names of its endpoints.
    fn by_name(&self) -> Vec<NameServer> {
        let name = |label: &[u8]| [label, &self.key, SVC].concat();
        match self.source {
            AddressSource::Alias(_) | AddressSource::Nothing => Vec::new(),
            AddressSource::ClusterIp => {
                let v4 = self.v4.iter().copied().map(IpAddr::from);
                let all = v4.chain(self.v6.iter().copied().map(IpAddr::from));
                all.map(|address| (name(&[]), address)).collect()
            }
            AddressSource::Endpoints => {
                let hosts = self.subsets.iter().flat_map(|subset| subset.hosts());
                hosts.map(|(label, address)| (name(label.wire(&mut [0; 64])), address)).collect()
            }
        }
    }
}

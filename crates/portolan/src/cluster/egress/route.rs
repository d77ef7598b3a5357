//! Whether an address is beyond this machine and its own networks: the kernel is asked for the route that a packet
//! would take (rtnetlink(7)).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures::TryStreamExt;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::route::{RouteFlags, RouteMessage, RouteType};

/// The longest prefix of a default route: some VPNs put two halves of all addresses in place of it.
const DEFAULT_PREFIX: u8 = 1;

/// Whether packets to `address` leave by the default route of the current network namespace. Addresses of the
/// machine, of networks that it is part of, and of those that it has a route of their own for, do not.
///
/// # Errors
/// The kernel cannot be asked.
pub(super) async fn leads_out(address: IpAddr) -> io::Result<bool> {
    let address = address.to_canonical();
    if is_special(address) {
        return Ok(false);
    }
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let connection = tokio::spawn(connection);
    let mut question = match address {
        IpAddr::V4(ip) => RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(ip, 32).build(),
        IpAddr::V6(ip) => RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(ip, 128).build(),
    };
    // The route as it stands in the table, and not as it looks for this address.
    question.header.flags |= RouteFlags::FibMatch;
    let route: Result<Option<RouteMessage>, _> = handle.route().get(question).execute().try_next().await;
    connection.abort();
    // Without a route there is an error of the kernel's.
    Ok(route.ok().flatten().is_some_and(|route| is_default(&route)))
}

fn is_default(route: &RouteMessage) -> bool {
    route.header.kind == RouteType::Unicast && route.header.destination_prefix_length <= DEFAULT_PREFIX
}

/// Addresses that mean this machine or its links whatever the routes say.
fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast()
        }
        IpAddr::V6(ip) => {
            ip.is_loopback() || ip.is_unspecified() || ip.is_unicast_link_local() || ip.is_multicast()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use testbed::Namespace;

    use super::*;

    /// A namespace with the networks of a machine, removed with the value.
    struct Machine(Namespace);

    impl Machine {
        fn new(name: &str) -> Self {
            let machine =
                Self(Namespace::ensure(&format!("portolan-test-{name}-{}", std::process::id())).unwrap());
            for line in [
                "link set lo up",
                "link add up0 type veth peer name up1",
                "address add 203.0.113.2/24 dev up0",
                "address add 2001:db8:1::2/64 dev up0 nodad",
                "link set up0 up",
                "link set up1 up",
                "link add docker0 type bridge",
                "address add 172.17.0.1/16 dev docker0",
                "link set docker0 up",
                "route add 10.9.0.0/16 via 203.0.113.9",
                "route add unreachable 10.8.0.0/16",
            ] {
                machine.ip(line);
            }
            machine
        }

        fn ip(&self, line: &str) {
            let done = Command::new("ip").args(["-n", self.0.name()]).args(line.split(' ')).output().unwrap();
            assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
        }

        fn leads_out(&self, address: &str) -> bool {
            let address = address.parse().unwrap();
            let ask = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(leads_out(address)).unwrap()
            };
            self.0.run(ask).unwrap()
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            drop(Namespace::delete(self.0.name()));
        }
    }

    #[test]
    fn only_what_the_default_route_leads_to_is_outside() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("passed over: network namespaces need root");
            return;
        }
        let machine = Machine::new("egress");
        assert!(!machine.leads_out("198.51.100.1"), "there is no default route yet");
        machine.ip("route add default via 203.0.113.1");
        machine.ip("-6 route add default via 2001:db8:1::1");
        for (address, what) in [
            ("127.0.0.1", "loopback"),
            ("127.9.9.9", "loopback"),
            ("::1", "loopback"),
            ("0.0.0.0", "this machine"),
            ("::", "this machine"),
            ("203.0.113.2", "the machine's own address"),
            ("::ffff:203.0.113.2", "the machine's own address, mapped"),
            ("2001:db8:1::2", "the machine's own address"),
            ("172.17.0.1", "the machine's address in a network of its own"),
            ("203.0.113.255", "broadcast"),
            ("255.255.255.255", "broadcast"),
            ("203.0.113.77", "a neighbour"),
            ("2001:db8:1::77", "a neighbour"),
            ("172.17.3.4", "a container"),
            ("10.9.1.1", "a network with a route of its own"),
            ("10.8.1.1", "an unreachable network"),
            ("169.254.169.254", "the metadata server of a cloud"),
            ("fe80::1", "a link"),
            ("224.0.0.1", "a group"),
            ("ff02::1", "a group"),
        ] {
            assert!(!machine.leads_out(address), "{address}: {what}");
        }
        for address in ["198.51.100.1", "10.7.1.1", "::ffff:198.51.100.1", "2001:db8:2::1"] {
            assert!(machine.leads_out(address), "{address}");
        }
    }
}

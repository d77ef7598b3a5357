//! What has to be done to one virtual server.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use nfnetlink::ipvs::{Front, RealServer, Sharing, VirtualServer};

use crate::ipvs::fragment::Server;

/// A virtual server as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) sharing: Sharing,
    /// Real servers with their weights, those that drain with 0.
    pub(super) real: BTreeMap<SocketAddr, u32>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Add(VirtualServer),
    Set(VirtualServer),
    Delete(Front),
    AddReal(RealServer),
    SetReal(RealServer),
    /// Gives it no new connections, and removes it once it has none.
    Drain(SocketAddr),
    DeleteReal(SocketAddr),
}

/// Protocols whose connections end by themselves: IPVS knows when, and real servers wait for that.
const GRACEFUL: [u8; 1] = [6];

/// Steps from what is held to what is wanted at a front.
pub(super) fn steps(front: Front, wanted: Option<&Server>, held: Option<&Held>) -> Vec<Step> {
    let Some(wanted) = wanted else {
        return held.map(|_| Step::Delete(front)).into_iter().collect();
    };
    let mut steps = Vec::new();
    let server = || VirtualServer { front, sharing: wanted.sharing.clone() };
    match held {
        None => steps.push(Step::Add(server())),
        Some(held) if held.sharing != wanted.sharing => steps.push(Step::Set(server())),
        Some(_) => {}
    }
    let none = BTreeMap::new();
    let real = held.map_or(&none, |held| &held.real);
    for (address, weight) in &wanted.real {
        let server = RealServer { address: *address, weight: *weight };
        match real.get(address) {
            None => steps.push(Step::AddReal(server)),
            Some(held) if held != weight => steps.push(Step::SetReal(server)),
            Some(_) => {}
        }
    }
    for address in real.keys().filter(|address| !wanted.real.contains_key(address)) {
        steps.push(match GRACEFUL.contains(&front.protocol) {
            true => Step::Drain(*address),
            false => Step::DeleteReal(*address),
        });
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sharing(scheduler: &str) -> Sharing {
        Sharing { scheduler: scheduler.into(), persistence: None, hash_port: false }
    }

    fn real(servers: &[(u16, u32)]) -> BTreeMap<SocketAddr, u32> {
        servers.iter().map(|(port, weight)| (SocketAddr::from(([10, 0, 0, 1], *port)), *weight)).collect()
    }

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    fn front(protocol: u8) -> Front {
        Front { address: "10.96.0.1:80".parse().unwrap(), protocol }
    }

    #[test]
    fn what_differs_is_changed_and_nothing_else() {
        let wanted = Server { sharing: sharing("rr"), real: real(&[(1, 1), (2, 1), (3, 5)]) };
        let held = Held { sharing: sharing("rr"), real: real(&[(1, 1), (3, 1)]) };
        let steps = steps(front(6), Some(&wanted), Some(&held));
        assert_eq!(
            steps,
            [
                Step::AddReal(RealServer { address: at(2), weight: 1 }),
                Step::SetReal(RealServer { address: at(3), weight: 5 }),
            ]
        );
    }

    #[test]
    fn a_tcp_server_that_is_not_wanted_drains_and_a_udp_server_goes_at_once() {
        let wanted = Server { sharing: sharing("rr"), real: real(&[]) };
        let held = Held { sharing: sharing("rr"), real: real(&[(1, 1)]) };
        assert_eq!(steps(front(6), Some(&wanted), Some(&held)), [Step::Drain(at(1))]);
        assert_eq!(steps(front(17), Some(&wanted), Some(&held)), [Step::DeleteReal(at(1))]);
    }

    #[test]
    fn a_server_that_drains_and_is_wanted_again_gets_its_weight_back() {
        let wanted = Server { sharing: sharing("rr"), real: real(&[(1, 1)]) };
        let held = Held { sharing: sharing("rr"), real: real(&[(1, 0)]) };
        let expected = [Step::SetReal(RealServer { address: at(1), weight: 1 })];
        assert_eq!(steps(front(6), Some(&wanted), Some(&held)), expected);
    }

    #[test]
    fn a_virtual_server_keeps_its_real_servers_when_its_scheduler_changes() {
        let wanted = Server { sharing: sharing("wlc"), real: real(&[(1, 1)]) };
        let held = Held { sharing: sharing("rr"), real: real(&[(1, 1)]) };
        let server = VirtualServer { front: front(6), sharing: sharing("wlc") };
        assert_eq!(steps(front(6), Some(&wanted), Some(&held)), [Step::Set(server)]);
        assert_eq!(steps(front(6), None, Some(&held)), [Step::Delete(front(6))]);
        assert_eq!(steps(front(6), None, None), []);
    }
}

//! Removing all that the mode made, and nothing else.

use std::collections::BTreeSet;

use nfnetlink::ipvs::Ipvs;
use nfnetlink::{Dummy, Socket};
use service::Family;

use super::failure::Failure;
use super::half;
use crate::iptables::ours::is_ours as is_of_iptables_mode;
use crate::ipvs::chains::CHAINS;
use crate::ipvs::sets::Set;
use crate::ipvs::state::INTERFACE;
use crate::xtables::Place;
use crate::xtables::Script;
use crate::xtables::text::{Rule, Tables};
use crate::xtables::{Programs, Variant};

/// Chains that iptables mode has under the same names.
const SHARED: [&str; 5] =
    ["KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-MARK-MASQ", "KUBE-FORWARD", "KUBE-PROXY-FIREWALL"];

/// Removes the virtual servers at the addresses of our interface and at NodePorts, the interface, our rules of
/// iptables in both families and of both kinds, and our sets. What is not there is no error, and neither is a kernel
/// without IPVS. With `keep_shared`, chains that iptables mode uses as well stay, without rules of ours.
///
/// # Errors
/// The first failure, after all else was tried.
pub fn cleanup(place: &Place, keep_shared: bool) -> Result<(), Failure> {
    let servers = place.run(remove_servers)?;
    let chains = remove_chains(place, keep_shared);
    let sets = place.run(remove_sets)?;
    servers.and(chains).and(sets)
}

fn remove_servers() -> Result<(), Failure> {
    let Some(mut interface) = Dummy::find(INTERFACE)? else { return Ok(()) };
    let addresses: BTreeSet<_> = interface.addresses()?.into_iter().collect();
    if let Ok(mut ipvs) = Ipvs::open() {
        let mut socket = Socket::open()?;
        let mut ports = BTreeSet::new();
        for family in Family::ALL {
            let of_family = half::node_ports(&mut socket, family)?.into_iter();
            ports.extend(of_family.map(|(protocol, port)| (family, protocol, port)));
        }
        for server in ipvs.virtual_servers()? {
            let (address, protocol) = (server.front.address, server.front.protocol);
            let node_port = (Family::of(address.ip()), protocol, address.port());
            if addresses.contains(&address.ip()) || ports.contains(&node_port) {
                ipvs.delete(&server.front)?;
            }
        }
    }
    Ok(interface.remove()?)
}

/// Removes chains that only iptables mode has, of both families and both kinds, while this mode is at work.
///
/// # Errors
/// The first failure, after all else was tried.
pub fn cleanup_iptables_mode(place: &Place) -> Result<(), Failure> {
    change_chains(place, |held, _| removal(held, of_iptables_mode_alone, |_| false))
}

fn of_iptables_mode_alone(table: &str, chain: &str) -> bool {
    is_of_iptables_mode(table, chain) && !is_ours(table, chain)
}

fn remove_chains(place: &Place, keep_shared: bool) -> Result<(), Failure> {
    change_chains(place, |held, family| our_removal(held, family, keep_shared))
}

fn change_chains(place: &Place, change: impl Fn(&Tables, Family) -> Script) -> Result<(), Failure> {
    let mut outcome = Ok(());
    for family in Family::ALL {
        for kind in [Variant::Legacy, Variant::Nft, Variant::Default] {
            let programs = Programs::new(kind, family);
            // A kind that does not work here holds nothing.
            let Ok(held) = programs.tables(place) else { continue };
            let script = change(&held, family);
            if !script.is_empty() {
                outcome = outcome.and(programs.restore(place, &script).map_err(Failure::from));
            }
        }
    }
    outcome
}

fn remove_sets() -> Result<(), Failure> {
    let mut socket = Socket::open()?;
    let mut outcome = Ok(());
    for family in Family::ALL {
        for set in Set::all() {
            let removed = socket.destroy_ipset(&set.name(family)).map_err(Failure::from);
            outcome = outcome.and(removed);
        }
    }
    outcome
}

/// Tables that have chains of either mode.
const TABLES: [&str; 3] = ["nat", "filter", "mangle"];

/// Whether this mode makes a chain of this name.
fn is_ours(table: &str, chain: &str) -> bool {
    CHAINS.iter().any(|(other, chains)| *other == table && chains.contains(&chain))
}

/// What removes ours from these tables. Without a chain that only this mode has, all of them are another mode's.
fn our_removal(held: &Tables, family: Family, keep_shared: bool) -> Script {
    let sets: BTreeSet<_> = Set::all().map(|set| set.name(family)).collect();
    let asks = |rule: &Rule| {
        let options = rule.options().unwrap_or_default();
        let mut asked = options.iter().filter(|option| option.name == "--match-set");
        asked.any(|option| option.values.first().is_some_and(|set| sets.contains(set)))
    };
    let alone = |table: &str, chain: &str| is_ours(table, chain) && !SHARED.contains(&chain);
    let here = TABLES
        .iter()
        .filter_map(|name| held.table(name))
        .any(|table| table.chains().iter().any(|chain| alone(&table.name, &chain.name)));
    match (here, keep_shared) {
        (false, _) => Script::default(),
        (true, true) => removal(held, alone, asks),
        (true, false) => removal(held, is_ours, asks),
    }
}

/// Deletes chains, the rules of other chains that lead to them, and those that ask about certain sets.
fn removal(held: &Tables, goes: impl Fn(&str, &str) -> bool, asks: impl Fn(&Rule) -> bool) -> Script {
    let mut script = Script::default();
    for name in TABLES {
        let Some(table) = held.table(name) else { continue };
        let section = script.section(name);
        for chain in table.chains() {
            if goes(name, &chain.name) {
                section.delete(&chain.name);
                continue;
            }
            let leads = |rule: &&Rule| rule.target().is_some_and(|target| goes(name, &target)) || asks(rule);
            for rule in chain.rules.iter().filter(leads) {
                section.rules.line(format_args!("-D {} {rule}", chain.name));
            }
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iptables::scene::{COUNTING, Scene, service, slice};
    use crate::ipvs::compile;

    fn held() -> Tables {
        let scene = Scene::new(&[
            service(
                "ns1",
                "svc1",
                "172.30.0.41",
                serde_json::json!({"spec": {"externalIPs": ["192.0.2.7"]}}),
            ),
            slice("ns1", "svc1", &[("10.180.0.1", None)]),
        ]);
        let ours = compile(&scene.sight(), Family::V4, COUNTING).tables();
        let others = "*nat\n:CNI-HOSTPORT - [0:0]\n-A PREROUTING -j CNI-HOSTPORT\nCOMMIT\n";
        Tables::parse(&format!("{ours}{others}")).unwrap()
    }

    #[test]
    fn all_of_ours_goes_and_nothing_else() {
        let script = our_removal(&held(), Family::V4, false).to_string();
        for line in ["-X KUBE-SERVICES", "-X KUBE-IPVS-FILTER", "-X KUBE-NODE-PORT", "-X KUBE-MARK-MASQ"] {
            assert!(script.lines().any(|other| other == line), "{line} in {script}");
        }
        assert!(!script.contains("CNI-HOSTPORT"));
        assert_eq!(script.lines().filter(|line| line.starts_with("-D ")).count(), 9, "{script}");
    }

    #[test]
    fn chains_that_iptables_mode_uses_stay_without_rules_about_our_sets() {
        let script = our_removal(&held(), Family::V4, true).to_string();
        assert!(!script.contains("-X KUBE-SERVICES") && script.contains("-X KUBE-LOAD-BALANCER"));
        assert!(
            script
                .lines()
                .any(|line| line.starts_with("-D KUBE-SERVICES") && line.contains("KUBE-CLUSTER-IP"))
        );
        assert!(!script.contains("-D PREROUTING"));
    }

    #[test]
    fn what_only_iptables_mode_made_is_not_ours() {
        let scene = Scene::new(&[
            service("ns1", "svc1", "172.30.0.41", serde_json::json!({})),
            slice("ns1", "svc1", &[("10.180.0.1", None)]),
        ]);
        assert!(our_removal(&scene.tables(), Family::V4, false).is_empty());
    }

    #[test]
    fn beside_us_only_what_iptables_mode_has_alone_is_removed() {
        let scene = Scene::new(&[
            service("ns1", "svc1", "172.30.0.41", serde_json::json!({})),
            slice("ns1", "svc1", &[("10.180.0.1", None)]),
        ]);
        let both = Tables::parse(&format!("{}{}", scene.tables(), held())).unwrap();
        let script = removal(&both, of_iptables_mode_alone, |_| false).to_string();
        for line in ["-X KUBE-SVC-XPGD46QRK7WJZT7O", "-X KUBE-EXTERNAL-SERVICES", "-X KUBE-NODEPORTS"] {
            assert!(script.lines().any(|other| other == line), "{line} in {script}");
        }
        assert_eq!(script.matches("-X KUBE-SERVICES").count(), 1, "that of the filter table: {script}");
        assert!(!script.contains("-X KUBE-POSTROUTING") && !script.contains("-X KUBE-IPVS-FILTER"));
    }
}

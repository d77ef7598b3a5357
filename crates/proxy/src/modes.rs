//! The modes by name: compiling for one, starting one, removing what they left.

use std::fmt;
use std::net::IpAddr;

use service::Family;

use crate::config::{Config, ModeName};
use crate::error::Error;
use crate::iptables;
use crate::ipvs;
use crate::mode::Mode;
use crate::nftables::{self, Kernel, Nftables};
use crate::packet::{Branch, Packet, Tracer, Untraceable};
use crate::sight::{NodeFacts, Sight};
use crate::userspace;
use crate::xtables;

/// How many lines a difference shows around each change.
const CONTEXT: usize = 2;

/// The rules of a mode as a value. It prints as the mode's own tools do.
#[derive(Debug)]
pub struct Compiled {
    rules: Rules,
    node: NodeFacts,
    /// Families that any address of the cluster or the node belongs to.
    families: Vec<Family>,
}

#[derive(Debug)]
enum Rules {
    /// One table for each ruleset.
    Nftables(Vec<nfnetlink::Ruleset>),
    Iptables(Vec<(Family, xtables::text::Tables)>),
    Userspace(userspace::Rules, userspace::Endpoints),
    Ipvs(Vec<(Family, ipvs::State)>),
}

/// Compiles the rules that the configured mode would load.
///
/// # Errors
/// [`Error::Mode`] when the mode has no rules to show.
pub fn compile(sight: &Sight<'_>) -> Result<Compiled, Error> {
    let rules = match sight.config.mode {
        ModeName::Nftables if sight.config.kube_proxy_layout => {
            Rules::Nftables(Family::ALL.map(|family| nftables::kube_proxy::compile(sight, family)).to_vec())
        }
        ModeName::Nftables => Rules::Nftables(vec![nftables::compile_rules(sight)]),
        ModeName::Iptables => {
            let tables = |family| iptables::compile(sight, family, xtables::Platform::default()).tables();
            Rules::Iptables(Family::ALL.map(|family| (family, tables(family))).to_vec())
        }
        ModeName::Userspace => Rules::Userspace(userspace::compile(sight), userspace::endpoints(sight)),
        ModeName::Ipvs => {
            let rules = |family| ipvs::compile(sight, family, xtables::Platform::default()).state();
            Rules::Ipvs(Family::ALL.map(|family| (family, rules(family))).to_vec())
        }
    };
    Ok(Compiled { rules, node: sight.node.clone(), families: families(sight) })
}

/// IPv4, and IPv6 if anything uses it.
fn families(sight: &Sight<'_>) -> Vec<Family> {
    let services = sight.cluster.names().filter_map(|name| sight.cluster.service(name));
    let mut addresses = services
        .flat_map(|service| service.cluster_ips().iter().copied())
        .chain(sight.node.addresses.iter().copied());
    match addresses.any(|address: IpAddr| address.is_ipv6()) {
        true => Family::ALL.to_vec(),
        false => vec![Family::V4],
    }
}

/// What the kernel of the calling thread's network namespace holds of the configured mode, and what it should hold.
///
/// # Errors
/// [`Error`] says what could not be read.
pub fn held_and_wanted(sight: &Sight<'_>) -> Result<(Compiled, Compiled), Error> {
    let mut wanted = compile(sight)?;
    let rules = match &mut wanted.rules {
        Rules::Ipvs(states) => {
            let place = xtables::Place::here();
            let mut all = Vec::new();
            for (family, wanted) in states {
                let held = ipvs::held(&place, *family, sight.node)?;
                *wanted = ipvs::compile(sight, *family, held.platform()).state();
                all.push((*family, held));
            }
            Rules::Ipvs(all)
        }
        Rules::Nftables(ours) => {
            let mut socket = socket()?;
            let tables = socket.tables().map_err(Error::Load)?;
            let same = |held: &nfnetlink::Table, table: &nfnetlink::Table| {
                held.family == table.family && held.name == table.name
            };
            let ours = ours.iter().filter_map(nfnetlink::Ruleset::table);
            let known = ours.filter(|table| tables.iter().any(|held| same(held, table)));
            let held = known.map(|table| {
                let mut ruleset = socket.ruleset(table).map_err(Error::Load)?;
                ruleset.forget_live();
                Ok(ruleset)
            });
            Rules::Nftables(held.collect::<Result<_, Error>>()?)
        }
        Rules::Iptables(tables) => {
            let place = xtables::Place::here();
            let mut all = Vec::new();
            for (family, wanted) in tables {
                let held = iptables::held(&place, *family)?;
                *wanted = iptables::compile(sight, *family, xtables::Platform::of(&held)).tables();
                all.push((*family, held));
            }
            Rules::Iptables(all)
        }
        Rules::Userspace(rules, _) => {
            let place = xtables::Place::here();
            let held = Family::ALL.map(|family| Ok((family, iptables::held(&place, family)?)));
            let held: Vec<_> = held.into_iter().collect::<Result<_, Error>>()?;
            *rules = userspace::compile_like(sight, &held);
            Rules::Iptables(held)
        }
    };
    let held = Compiled { rules, node: wanted.node.clone(), families: wanted.families.clone() };
    Ok((held, wanted))
}

impl Compiled {
    /// Walks packets through these rules.
    pub fn tracer(&self) -> Box<dyn Tracer + '_> {
        match &self.rules {
            Rules::Nftables(tables) => Box::new(nftables::Walker::new(tables, &self.node)),
            Rules::Ipvs(rules) => Box::new(ByFamily(
                rules.iter().map(|(family, rules)| (*family, ipvs::Walker::new(rules, &self.node))).collect(),
            )),
            Rules::Iptables(tables) => Box::new(ByFamily(
                tables
                    .iter()
                    .map(|(family, tables)| (*family, xtables::trace::Walker::new(tables, &self.node)))
                    .collect(),
            )),
            Rules::Userspace(rules, endpoints) => {
                Box::new(userspace::Walker::new(rules, endpoints, &self.node))
            }
        }
    }

    /// What loading these rules would change where `before` is loaded; empty for nothing.
    pub fn difference(&self, before: &Self) -> String {
        if let (Rules::Ipvs(before), Rules::Ipvs(after)) = (&before.rules, &self.rules) {
            let states = before.iter().zip(after);
            return states.map(|((_, before), (_, after))| after.difference(before)).collect();
        }
        if let (Some(before), Some(after)) = (before.rules.tables(), self.rules.tables()) {
            let mut text = String::new();
            for ((family, before), (_, after)) in before.iter().zip(after) {
                let difference = iptables::Difference::new(before, after);
                if !difference.is_empty() {
                    text.push_str(&format!("# {family}\n{difference}"));
                }
            }
            return text;
        }
        let (before, after) = (before.to_string(), self.to_string());
        let lines = similar::TextDiff::from_lines(&before, &after);
        lines.unified_diff().context_radius(CONTEXT).to_string()
    }
}

impl Rules {
    /// Those of iptables, by family.
    fn tables(&self) -> Option<&[(Family, xtables::text::Tables)]> {
        match self {
            Self::Nftables(_) | Self::Ipvs(_) => None,
            Self::Iptables(tables) | Self::Userspace(userspace::Rules { tables, .. }, _) => Some(tables),
        }
    }
}

impl fmt::Display for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rules {
            Rules::Nftables(tables) => tables.iter().try_for_each(|table| write!(f, "{table}")),
            Rules::Ipvs(rules) => {
                let mut shown = rules.iter().filter(|(family, _)| self.families.contains(family));
                shown.try_for_each(|(_, rules)| write!(f, "{rules}"))
            }
            Rules::Iptables(tables) | Rules::Userspace(userspace::Rules { tables, .. }, _) => {
                for (family, tables) in tables.iter().filter(|(family, _)| self.families.contains(family)) {
                    if *family == Family::V6 {
                        writeln!(f, "# for ip6tables-restore")?;
                    }
                    write!(f, "{tables}")?;
                }
                Ok(())
            }
        }
    }
}

/// Tracers of rules that are apart for each family.
struct ByFamily<T>(Vec<(Family, T)>);

impl<T: Tracer> Tracer for ByFamily<T> {
    fn trace(&self, packet: &Packet) -> Result<Vec<Branch>, Untraceable> {
        let family = Family::of(packet.destination.ip());
        match self.0.iter().find(|(other, _)| *other == family) {
            Some((_, tracer)) => tracer.trace(packet),
            None => Ok(Vec::new()),
        }
    }
}

/// Gets a mode ready for the network namespace of the calling thread. Nothing is written yet.
///
/// # Errors
/// [`Error`] says what the kernel lacks, and which mode would work.
pub fn start(config: &Config) -> Result<Box<dyn Mode>, Error> {
    match config.mode {
        ModeName::Nftables if config.kube_proxy_layout => {
            Ok(Box::new(nftables::kube_proxy::KubeProxy::new(socket()?)))
        }
        ModeName::Nftables => Ok(Box::new(Nftables::new(Kernel::new(socket()?)))),
        ModeName::Iptables => Ok(Box::new(iptables::Iptables::new(xtables::Place::here()))),
        ModeName::Userspace => Ok(Box::new(userspace::Userspace::new(xtables::Place::here()))),
        ModeName::Ipvs => Ok(Box::new(ipvs::Ipvs::new(xtables::Place::here()))),
    }
}

/// Whether what [`start`] gave for one configuration can go on under another one.
pub(crate) fn goes_on(before: &Config, after: &Config) -> bool {
    Leftover::used(before) == Leftover::used(after)
}

fn socket() -> Result<nfnetlink::Socket, Error> {
    nfnetlink::Socket::open().map_err(Error::load)
}

/// What modes leave in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leftover {
    /// Table `inet portolan`.
    OurTable,
    /// Tables `ip kube-proxy` and `ip6 kube-proxy`.
    KubeProxyTables,
    /// Chains of iptables mode.
    Chains,
    /// Chains of iptables that lead to a proxy in a process.
    Portals,
    /// Virtual servers, sets, chains and the interface of ipvs mode.
    VirtualServers,
}

impl Leftover {
    const ALL: [Self; 5] =
        [Self::OurTable, Self::KubeProxyTables, Self::VirtualServers, Self::Portals, Self::Chains];

    /// What the configured mode itself works with.
    fn used(config: &Config) -> Self {
        match config.mode {
            ModeName::Nftables if config.kube_proxy_layout => Self::KubeProxyTables,
            ModeName::Nftables => Self::OurTable,
            ModeName::Ipvs => Self::VirtualServers,
            ModeName::Iptables => Self::Chains,
            ModeName::Userspace => Self::Portals,
        }
    }

    /// Removes it, but for what has the same name in what is used.
    fn remove(self, used: Option<Self>) -> Result<(), Error> {
        let place = xtables::Place::here;
        match self {
            Self::OurTable => nftables::cleanup(&mut socket()?),
            Self::KubeProxyTables => nftables::kube_proxy::cleanup(&mut socket()?),
            Self::Portals => userspace::cleanup(&place()).map_err(Error::from),
            Self::Chains if used == Some(Self::VirtualServers) => Ok(ipvs::cleanup_iptables_mode(&place())?),
            Self::Chains => Ok(iptables::cleanup(&place())?),
            Self::VirtualServers => Ok(ipvs::cleanup(&place(), used == Some(Self::Chains))?),
        }
    }
}

/// Removes what all modes put into the kernel, and nothing else. It is no error if there is nothing.
///
/// # Errors
/// All that failed; the rest is removed.
pub fn cleanup_all() -> Result<(), Error> {
    remove(None)
}

/// Removes what other modes than the configured one left, once its rules are in place: so no new connection finds
/// none. Connections that are established go on in any case.
///
/// # Errors
/// As [`cleanup_all`].
pub fn cleanup_others(config: &Config) -> Result<(), Error> {
    remove(Some(Leftover::used(config)))
}

fn remove(used: Option<Leftover>) -> Result<(), Error> {
    let leftovers = Leftover::ALL.into_iter().filter(|leftover| Some(*leftover) != used);
    let failures = leftovers.filter_map(|leftover| leftover.remove(used).err());
    let failed: Vec<_> = failures.map(|error| error.to_string()).collect();
    if failed.is_empty() { Ok(()) } else { Err(Error::Mode(failed.join("; "))) }
}

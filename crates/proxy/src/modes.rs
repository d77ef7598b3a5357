//! The modes by name: compiling for one, starting one, removing what they left.

use std::fmt;
use std::net::IpAddr;

use service::Family;

use crate::config::{Config, ModeName};
use crate::error::Error;
use crate::iptables;
use crate::mode::Mode;
use crate::nftables::{self, Kernel, Nftables};
use crate::packet::{Branch, Packet, Tracer, Untraceable};
use crate::sight::{NodeFacts, Sight};
use crate::userspace;

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
    Nftables(nfnetlink::Ruleset),
    Iptables(Vec<(Family, iptables::text::Tables)>),
    Userspace(userspace::Rules, userspace::Endpoints),
}

/// Compiles the rules that the configured mode would load.
///
/// # Errors
/// [`Error::Mode`] when the mode has no rules to show.
pub fn compile(sight: &Sight<'_>) -> Result<Compiled, Error> {
    let rules = match sight.config.mode {
        ModeName::Nftables => Rules::Nftables(nftables::compile_rules(sight)),
        ModeName::Iptables => {
            let tables = |family| iptables::compile(sight, family, iptables::Platform::default()).tables();
            Rules::Iptables(Family::ALL.map(|family| (family, tables(family))).to_vec())
        }
        ModeName::Userspace => Rules::Userspace(userspace::compile(sight), userspace::endpoints(sight)),
        other => return Err(Error::Mode(format!("mode {other} is not there yet; use nftables"))),
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

impl Compiled {
    /// Walks packets through these rules.
    pub fn tracer(&self) -> Box<dyn Tracer + '_> {
        match &self.rules {
            Rules::Nftables(table) => Box::new(nftables::Walker::new([table], &self.node)),
            Rules::Iptables(tables) => Box::new(ByFamily(
                tables
                    .iter()
                    .map(|(family, tables)| (*family, iptables::trace::Walker::new(tables, &self.node)))
                    .collect(),
            )),
            Rules::Userspace(rules, endpoints) => {
                Box::new(userspace::Walker::new(rules, endpoints, &self.node))
            }
        }
    }

    /// What the kernel of the calling thread's network namespace holds in their place.
    ///
    /// # Errors
    /// [`Error`] says what could not be read.
    pub fn held(&self) -> Result<Self, Error> {
        let rules = match &self.rules {
            Rules::Nftables(ours) => {
                let mut socket = socket()?;
                let tables = socket.tables().map_err(Error::Load)?;
                let known = |table: &&nfnetlink::Table| tables.iter().any(|held| held.name == table.name);
                match ours.table().filter(known) {
                    Some(table) => Rules::Nftables(socket.ruleset(table).map_err(Error::Load)?),
                    None => Rules::Nftables(nfnetlink::Ruleset::default()),
                }
            }
            Rules::Iptables(tables) | Rules::Userspace(userspace::Rules { tables, .. }, _) => {
                let place = iptables::Place::here();
                let held = tables.iter().map(|(family, _)| Ok((*family, iptables::held(&place, *family)?)));
                Rules::Iptables(held.collect::<Result<_, Error>>()?)
            }
        };
        Ok(Self { rules, node: self.node.clone(), families: self.families.clone() })
    }

    /// What loading these rules would change where `before` is loaded; empty for nothing.
    pub fn difference(&self, before: &Self) -> String {
        match (before.rules.tables(), self.rules.tables()) {
            (Some(before), Some(after)) => {
                let mut text = String::new();
                for ((family, before), (_, after)) in before.iter().zip(after) {
                    let difference = iptables::Difference::new(before, after);
                    if !difference.is_empty() {
                        text.push_str(&format!("# {family}\n{difference}"));
                    }
                }
                text
            }
            _ => {
                let (before, after) = (before.to_string(), self.to_string());
                let lines = similar::TextDiff::from_lines(&before, &after);
                lines.unified_diff().context_radius(CONTEXT).to_string()
            }
        }
    }
}

impl Rules {
    /// Those of iptables, by family.
    fn tables(&self) -> Option<&[(Family, iptables::text::Tables)]> {
        match self {
            Self::Nftables(_) => None,
            Self::Iptables(tables) | Self::Userspace(userspace::Rules { tables, .. }, _) => Some(tables),
        }
    }
}

impl fmt::Display for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rules {
            Rules::Nftables(table) => write!(f, "{table}"),
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
        ModeName::Nftables => Ok(Box::new(Nftables::new(Kernel::new(socket()?)))),
        ModeName::Iptables => Ok(Box::new(iptables::Iptables::new(iptables::Place::here()))),
        ModeName::Userspace => Ok(Box::new(userspace::Userspace::new(iptables::Place::here()))),
        other => Err(Error::Mode(format!("mode {other} is not there yet; use nftables"))),
    }
}

fn socket() -> Result<nfnetlink::Socket, Error> {
    nfnetlink::Socket::open().map_err(Error::Load)
}

/// Removes what modes put into the kernel, except what `kept` use. It is no error if there is nothing.
///
/// # Errors
/// All that failed; the rest is removed.
pub fn cleanup_all(kept: &[ModeName]) -> Result<(), Error> {
    let mut failed = Vec::new();
    for mode in ModeName::ALL.into_iter().filter(|mode| !kept.contains(mode)) {
        let done = match mode {
            ModeName::Nftables => socket().and_then(|mut socket| nftables::cleanup(&mut socket)),
            ModeName::Iptables if kept.contains(&ModeName::Ipvs) => Ok(()),
            ModeName::Iptables => iptables::cleanup(&iptables::Place::here()).map_err(Error::from),
            ModeName::Ipvs => Ok(()),
            ModeName::Userspace => userspace::cleanup(&iptables::Place::here()).map_err(Error::from),
        };
        failed.extend(done.err().map(|error| error.to_string()));
    }
    if failed.is_empty() { Ok(()) } else { Err(Error::Mode(failed.join("; "))) }
}

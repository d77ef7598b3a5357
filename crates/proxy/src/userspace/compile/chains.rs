//! All chains and rules of one family, kept by Service.

use std::collections::{BTreeMap, BTreeSet};

use service::{Family, ServiceName};

use super::base::{
    FILTER_CHAINS, JUMPS, NAT_CHAINS, NODE_PORT_CONTAINER, NODE_PORT_HOST, PORTALS_CONTAINER, PORTALS_HOST,
    node_port_places,
};
use super::port::{self, PortRules};
use crate::mode::Touched;
use crate::sight::{NodePortIps, Sight};
use crate::userspace::proxy_ports::ProxyPorts;
use crate::xtables::text::{Rule, Tables};
use crate::xtables::{Platform, Script, Settings};

/// Built-in chains that lead to ours.
const BUILT_IN: [(&str, &[&str]); 2] =
    [("filter", &["INPUT", "FORWARD", "OUTPUT"]), ("nat", &["PREROUTING", "OUTPUT"])];

/// All chains and rules of one family.
#[derive(Debug, Clone)]
pub(crate) struct Chains {
    family: Family,
    settings: Option<Settings>,
    services: BTreeMap<ServiceName, Vec<PortRules>>,
}

impl Chains {
    /// No Service.
    pub(crate) fn new(family: Family) -> Self {
        Self { family, settings: None, services: BTreeMap::new() }
    }

    /// Looks at Services again; some of them may be gone. Looks at all if what they share changed. Says whether any
    /// rule changed: other endpoints behind the same proxy ports change none.
    pub(crate) fn update(
        &mut self,
        sight: &Sight<'_>,
        touched: &Touched<'_>,
        proxy_ports: &ProxyPorts,
    ) -> bool {
        let settings = settings(sight, self.family);
        let everything = matches!(touched, Touched::Everything) || self.settings.as_ref() != Some(&settings);
        let names: BTreeSet<_> = match everything {
            true => self.services.keys().chain(sight.cluster.names()).cloned().collect(),
            false => touched.names(sight),
        };
        let mut changed = everything;
        for name in names {
            let views = sight.ports(&name);
            let views = views.iter().filter(|view| view.family == self.family && port::is_writable(view));
            let rules: Vec<_> = views.map(|view| port::compile(view, &settings, proxy_ports)).collect();
            let old = match rules.is_empty() {
                true => self.services.remove(&name).unwrap_or_default(),
                false => self.services.insert(name, rules.clone()).unwrap_or_default(),
            };
            changed |= old != rules;
        }
        self.settings = Some(settings);
        changed
    }

    /// What loads all of them.
    pub(crate) fn script(&self) -> Script {
        let mut script = Script::default();
        let ports = || self.services.values().flatten();
        let filter = script.section("filter");
        FILTER_CHAINS.into_iter().for_each(|chain| filter.declare(chain));
        ports().for_each(|port| filter.rules.extend(&port.filter));
        let nat = script.section("nat");
        NAT_CHAINS.into_iter().for_each(|chain| nat.declare(chain));
        ports().for_each(|port| nat.rules.extend(&port.nat));
        // An address of a Service may be the node's own, so NodePorts come last.
        for place in self.settings.iter().flat_map(node_port_places) {
            for (chain, to) in [(PORTALS_CONTAINER, NODE_PORT_CONTAINER), (PORTALS_HOST, NODE_PORT_HOST)] {
                nat.rules.append(
                    chain,
                    format_args!("-m comment --comment \"kubernetes service nodeports; NOTE: this must be the last rule in this chain\" {place} -j {to}"),
                );
            }
        }
        script
    }

    /// All tables as they are once loaded.
    pub(crate) fn tables(&self) -> Tables {
        let mut tables = Tables::new();
        for (table, chains) in BUILT_IN {
            for chain in chains {
                tables.table_mut(table).chain_mut(chain).policy = Some("ACCEPT".to_owned());
            }
        }
        for jump in JUMPS {
            let table = tables.table_mut(jump.table);
            table.chain_mut(jump.from).rules.insert(0, Rule::new(jump.rule));
            table.chain_mut(jump.to);
        }
        self.script().load_into(&mut tables);
        tables
    }
}

/// What Services share. Unlike rules that send packets to endpoints, a proxy can serve ::1 as well.
fn settings(sight: &Sight<'_>, family: Family) -> Settings {
    let settings = Settings::of(sight, family, Platform::default());
    let localhost_node_ports = match family {
        Family::V4 => settings.localhost_node_ports,
        Family::V6 => sight.config.localhost_node_ports && settings.node_port_ips == NodePortIps::AnyLocal,
    };
    Settings { localhost_node_ports, ..settings }
}

//! All chains and rules of one family, kept by Service.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use service::{Family, ServiceName};

use super::compile::{Fragment, JUMPS};
use crate::conntrack::stale::Front;
use crate::mode::Touched;
use crate::sight::Sight;
use crate::xtables::Script;
use crate::xtables::text::Rule;
use crate::xtables::text::Tables;
use crate::xtables::{Platform, Settings};

/// With more endpoints than this a cluster is large, and its endpoint rules go without comments.
const LARGE: usize = 1000;

/// Built-in chains that lead to ours, in the order in which the kernel shows them.
const BUILT_IN: [(&str, &[&str]); 2] =
    [("filter", &["INPUT", "FORWARD", "OUTPUT"]), ("nat", &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"])];

/// All chains and rules of one family. Prints as kube-proxy writes them for `iptables-restore`.
#[derive(Debug, Clone)]
pub struct Rules {
    family: Family,
    platform: Platform,
    settings: Option<Settings>,
    fragments: BTreeMap<ServiceName, Fragment>,
    /// How many endpoints all fragments have.
    endpoints: usize,
}

/// What an update changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// Whether all chains are to be written: what all Services share changed.
    pub everything: bool,
    /// Whether rules of the filter table changed.
    pub filter: bool,
    /// Whether the chains of the nat table that Services share changed.
    pub front: bool,
    /// Services whose own chains changed.
    pub services: BTreeSet<ServiceName>,
    /// Chains of the nat table that nothing leads to any more.
    pub stale: BTreeSet<String>,
    /// Services whose UDP connections may lead to endpoints that are gone.
    pub flows: BTreeSet<ServiceName>,
}

/// All chains and rules of one family. The same sight gives the same rules.
pub fn compile(sight: &Sight<'_>, family: Family, platform: Platform) -> Rules {
    let mut rules = Rules::new(family, platform);
    rules.update(sight, &Touched::Everything);
    rules
}

impl Rules {
    /// No Service. What Services share is read from the sight of the first update.
    pub fn new(family: Family, platform: Platform) -> Self {
        Self { family, platform, settings: None, fragments: BTreeMap::new(), endpoints: 0 }
    }

    /// The family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Looks at Services again; some of them may be gone. Looks at all if what they share changed.
    pub fn update(&mut self, sight: &Sight<'_>, touched: &Touched<'_>) -> Change {
        let mut change = Change::default();
        let large = self.settings.as_ref().is_some_and(|settings| settings.large);
        let settings = Settings { large, ..Settings::of(sight, self.family, self.platform) };
        match touched {
            Touched::Services(changed) if self.settings.as_ref() == Some(&settings) => {
                changed.iter().for_each(|name| self.look(sight, name, &settings, &mut change));
            }
            _ => {
                change.everything = true;
                self.compile_all(sight, &settings, &mut change);
            }
        }
        let settings = match self.endpoints > LARGE {
            large if large == settings.large => settings,
            large => {
                let settings = Settings { large, ..settings };
                change.everything = true;
                self.compile_all(sight, &settings, &mut change);
                settings
            }
        };
        self.settings = Some(settings);
        change
    }

    fn compile_all(&mut self, sight: &Sight<'_>, settings: &Settings, change: &mut Change) {
        let mut names: BTreeSet<_> = self.fragments.keys().cloned().collect();
        names.extend(sight.cluster.names().cloned());
        names.iter().for_each(|name| self.look(sight, name, settings, change));
    }

    /// Looks at one Service.
    fn look(&mut self, sight: &Sight<'_>, name: &ServiceName, settings: &Settings, change: &mut Change) {
        let new = Fragment::compile(sight, name, settings);
        let old = self.fragments.remove(name);
        if old != new {
            let (was, is) = (old.as_ref().map(Parts::of), new.as_ref().map(Parts::of));
            let (was, is) = (was.unwrap_or_default(), is.unwrap_or_default());
            change.filter |= was.filter != is.filter;
            change.front |= was.front != is.front;
            if was.own != is.own {
                change.services.insert(name.clone());
            }
            let fronts =
                |fragment: &Option<Fragment>| fragment.as_ref().map(|fragment| fragment.fronts.clone());
            if fronts(&old) != fronts(&new) {
                change.flows.insert(name.clone());
            }
            let gone = old.iter().flat_map(Fragment::chains).cloned();
            change.stale.extend(gone);
            new.iter().flat_map(Fragment::chains).for_each(|chain| {
                change.stale.remove(chain);
            });
        }
        self.endpoints -= old.map_or(0, |old| old.endpoints);
        if let Some(new) = new {
            self.endpoints += new.endpoints;
            self.fragments.insert(name.clone(), new);
        }
    }

    /// What loads the change. One that changed everything writes all chains.
    pub(super) fn script(&self, change: &Change) -> Script {
        let mut script = Script::default();
        let Some(settings) = &self.settings else { return script };
        if change.everything || change.filter {
            let section = script.section("filter");
            settings.filter_chains().for_each(|chain| section.declare(chain));
            section.rules.extend(&settings.filter_head());
            for port in self.fragments.values().flat_map(|fragment| &fragment.ports) {
                section.rules.extend(&port.filter);
            }
            section.rules.extend(&settings.filter_tail());
        }
        let front = change.everything || change.front;
        let section = script.section("nat");
        if front {
            settings.nat_chains().for_each(|chain| section.declare(chain));
            section.rules.extend(&settings.nat_head());
            for (name, fragment) in &self.fragments {
                let own = change.everything || change.services.contains(name);
                for port in &fragment.ports {
                    section.rules.extend(&port.front);
                    if own {
                        port.chains.iter().for_each(|chain| section.declare(chain));
                        section.rules.extend(&port.own);
                    }
                }
            }
        } else {
            let changed = change.services.iter().filter_map(|name| self.fragments.get(name));
            for port in changed.flat_map(|fragment| &fragment.ports) {
                port.chains.iter().for_each(|chain| section.declare(chain));
                section.rules.extend(&port.own);
            }
        }
        change.stale.iter().for_each(|chain| section.delete(chain));
        if front {
            section.rules.extend(&settings.nat_tail());
        }
        script
    }

    /// All tables as they are once loaded, with the rules of built-in chains that lead to ours.
    pub fn tables(&self) -> Tables {
        let mut tables = Tables::new();
        for (table, chains) in BUILT_IN {
            for chain in chains {
                tables.table_mut(table).chain_mut(chain).policy = Some("ACCEPT".to_owned());
            }
        }
        for jump in JUMPS {
            let table = tables.table_mut(jump.table);
            table.chain_mut(jump.from).rules.insert(0, Rule::new(jump.to_string()));
            table.chain_mut(jump.to);
        }
        self.everything().load_into(&mut tables);
        tables
    }

    /// All chains but built-in ones, and their rules.
    pub(super) fn everything(&self) -> Script {
        self.script(&Change { everything: true, ..Change::default() })
    }

    /// How many rules the filter and the nat table have, as kube-proxy's metric counts them.
    pub fn counts(&self) -> (usize, usize) {
        let Some(settings) = &self.settings else { return (0, 0) };
        let ports = || self.fragments.values().flat_map(|fragment| &fragment.ports);
        let filter = settings.filter_head().len() + settings.filter_tail().len();
        let nat = settings.nat_head().len() + settings.nat_tail().len();
        (
            filter + ports().map(|port| port.filter.len()).sum::<usize>(),
            nat + ports().map(|port| port.front.len() + port.own.len()).sum::<usize>(),
        )
    }

    /// Whether there are so many endpoints that their rules go without comments.
    pub(super) fn is_large(&self) -> bool {
        self.endpoints > LARGE
    }

    /// Chains of the nat table that belong to Services.
    pub(super) fn in_use(&self) -> BTreeSet<&String> {
        self.fragments.values().flat_map(Fragment::chains).collect()
    }

    /// Where UDP connections come in to these Services.
    pub(super) fn fronts<'a>(
        &'a self,
        names: impl IntoIterator<Item = &'a ServiceName>,
    ) -> impl Iterator<Item = &'a Front> {
        names.into_iter().filter_map(|name| self.fragments.get(name)).flat_map(|fragment| &fragment.fronts)
    }

    /// Where UDP connections come in to any Service.
    pub(super) fn all_fronts(&self) -> impl Iterator<Item = &Front> {
        self.fragments.values().flat_map(|fragment| &fragment.fronts)
    }
}

/// The texts of a fragment, to be compared.
#[derive(Default, PartialEq, Eq)]
struct Parts<'a> {
    filter: Vec<&'a str>,
    front: Vec<&'a str>,
    own: Vec<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(fragment: &'a Fragment) -> Self {
        let mut parts = Self::default();
        for port in &fragment.ports {
            let texts = [
                (&mut parts.filter, &port.filter),
                (&mut parts.front, &port.front),
                (&mut parts.own, &port.own),
            ];
            for (list, lines) in texts {
                list.extend((!lines.is_empty()).then(|| lines.as_str()));
            }
        }
        parts
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.everything())
    }
}

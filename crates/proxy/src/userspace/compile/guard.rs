//! The rules that guard proxy ports. They say which proxy port they guard, so that its port can be read from tables that are held.

use std::collections::HashMap;

use service::Family;

use super::base::NON_LOCAL;
use crate::userspace::proxy_ports::{ProxyPort, Scope};
use crate::xtables::port_name;
use crate::xtables::text::{Rule, Tables};

/// The ports of proxy ports by family, protocol and what the rules that guard them have as their comment.
#[derive(Debug, Default)]
pub(super) struct Guarded(HashMap<(Family, String, String), u16>);

/// What the rules that guard a proxy port have as their comment.
pub(super) fn comment(port_name: &str, scope: Scope) -> String {
    match scope {
        Scope::Cluster => format!("{port_name} proxy port"),
        Scope::Local => format!("{port_name} proxy port of local endpoints"),
    }
}

impl Guarded {
    /// Reads the rules of tables that are held.
    pub(super) fn read(held: &[(Family, Tables)]) -> Self {
        let mut guarded = Self::default();
        for (family, tables) in held {
            let rules = tables.chain("filter", NON_LOCAL).into_iter().flat_map(|chain| &chain.rules);
            guarded.0.extend(rules.filter_map(|rule| {
                let (protocol, comment, port) = guard(rule)?;
                Some(((*family, protocol, comment), port))
            }));
        }
        guarded
    }

    /// The port of a proxy port, if a rule guards it.
    pub(super) fn port(&self, proxy_port: &ProxyPort) -> Option<u16> {
        let comment = comment(&port_name(&proxy_port.service, &proxy_port.port), proxy_port.scope);
        self.0.get(&(proxy_port.family, proxy_port.protocol.to_string(), comment)).copied()
    }
}

/// Protocol, comment and port of a rule.
fn guard(rule: &Rule) -> Option<(String, String, u16)> {
    let options = rule.options().ok()?;
    let value = |name: &str| options.iter().find(|option| option.name == name)?.values.first().cloned();
    Some((value("-p")?, value("--comment")?, value("--dport")?.parse().ok()?))
}

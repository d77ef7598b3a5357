//! `bind`: the addresses that a server block listens on.

use std::net::IpAddr;

use super::value::Value;
use crate::corefile::{Directive, Fault, Scope};
use crate::interfaces;

/// The addresses of the directive `bind`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bind {
    /// The addresses; none means all of the machine.
    pub(crate) addresses: Vec<IpAddr>,
}

impl Value for Bind {
    /// Metrics do not list it: in CoreDNS it is no plugin that handles queries.
    fn is_enabled(&self) -> bool {
        false
    }
}

/// Reads `bind ADDRESS|INTERFACE... { except ADDRESS|INTERFACE... }`.
pub(super) fn read(value: &mut Bind, directive: &Directive, _: &mut Scope<'_>) -> Result<(), Fault> {
    for text in directive.some("ADDRESS|INTERFACE...")? {
        let addresses = match text.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => {
                interfaces::addresses(text).filter(|addresses| !addresses.is_empty()).ok_or_else(|| {
                    directive.fault(format!("{text:?} is neither an address nor an interface that has one"))
                })?
            }
        };
        value.addresses.extend(addresses);
    }
    if let Some(option) = directive.options.iter().find(|option| option.name != "except") {
        return Err(directive.unknown_option(option, &["except"]));
    }
    for except in &directive.options {
        let excluded = except.arguments.iter().flat_map(|text| match text.parse() {
            Ok(address) => vec![address],
            Err(_) => interfaces::addresses(text).unwrap_or_default(),
        });
        let excluded: Vec<IpAddr> = excluded.collect();
        value.addresses.retain(|address| !excluded.contains(address));
    }
    Ok(())
}

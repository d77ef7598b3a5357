//! `transfer`: zones of the cluster are sent whole (RFC 5936).

mod handler;
mod messages;

use std::net::IpAddr;

use service::Cidr;

use crate::corefile::{Directive, Fault, Scope};
use crate::wire::Name;

pub(super) use handler::handler;
#[cfg(test)]
pub(crate) use messages::messages;

/// The directive `transfer`: zones and the clients that may fetch them whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TransferRule {
    /// The zones.
    pub(crate) zones: Vec<Name>,
    /// The addresses of clients that may; `None` admits every client.
    pub(crate) to: Option<Vec<Cidr>>,
}

impl TransferRule {
    /// Whether a client may fetch the zones.
    fn admits(&self, address: IpAddr) -> bool {
        self.to.as_ref().is_none_or(|to| to.iter().any(|cidr| cidr.contains(address)))
    }
}

/// Reads `transfer [ZONE...] { to ADDRESS|*... }`.
pub(super) fn read(
    value: &mut Vec<TransferRule>,
    directive: &Directive,
    scope: &mut Scope<'_>,
) -> Result<(), Fault> {
    let zones = scope.zones_or_own(directive, &directive.arguments)?;
    let mut to = Some(Vec::new());
    for option in &directive.options {
        if option.name != "to" {
            return Err(directive.unknown_option(option, &["to"]));
        }
        for text in option.some("ADDRESS|*...")? {
            if text == "*" {
                to = None;
                continue;
            }
            let block = block(text)
                .ok_or_else(|| option.fault(format!("{text:?} is no address; write one, a block, or *")))?;
            if let Some(to) = &mut to {
                to.push(block);
            }
        }
    }
    if to.as_ref().is_some_and(Vec::is_empty) {
        return Err(directive.fault("say who may fetch the zone: to ADDRESS..."));
    }
    value.push(TransferRule { zones, to });
    Ok(())
}

/// A block of addresses, or one address, perhaps with a port.
fn block(text: &str) -> Option<Cidr> {
    if text.contains('/') {
        return text.parse().ok();
    }
    let socket = text.parse::<std::net::SocketAddr>().map(|socket| socket.ip());
    socket.or_else(|_| text.parse()).map(Cidr::host).ok()
}

//! `rrl`: response rate limiting, so that this server cannot be used to flood others with replies to queries under
//! their address.

mod limiter;

use std::net::IpAddr;
use std::sync::Arc;

use super::{Handled, Handler, Parts, Request};
use crate::client::Transport;
use crate::corefile::{Directive, Fault, Scope};
use crate::wire::{Reply, flag, rcode};
use crate::zone::View;

use limiter::{Decision, Limiter};

/// The directive `rrl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RrlOptions {
    /// Replies a second to one network (a /24 or /56) outside the cluster; at least 1.
    pub(crate) responses_per_second: u32,
    /// Of the replies above that, one in this many is sent truncated, so that a real client comes back over TCP; the
    /// others are not sent. With 0 none is sent.
    pub(crate) slip: u32,
}

/// Reads `rrl { responses-per-second NUMBER; slip-ratio NUMBER }`.
pub(super) fn read(
    value: &mut Option<RrlOptions>,
    directive: &Directive,
    _: &mut Scope<'_>,
) -> Result<(), Fault> {
    let mut limits = RrlOptions { responses_per_second: 0, slip: 2 };
    for option in &directive.options {
        let number = |what| option.number::<u32>(&option.exactly::<1>(what)?[0]);
        match &*option.name {
            "responses-per-second" => limits.responses_per_second = number("NUMBER")?,
            "slip-ratio" => limits.slip = number("NUMBER")?,
            _ => return Err(directive.unknown_option(option, &["responses-per-second", "slip-ratio"])),
        }
    }
    if limits.responses_per_second == 0 {
        return Err(directive.fault("say how many replies are allowed: responses-per-second NUMBER"));
    }
    *value = Some(limits);
    Ok(())
}

/// Makes the handler of `rrl`.
pub(super) fn handler(value: &Option<RrlOptions>, parts: &Parts) -> Option<Box<dyn Handler>> {
    let limiter = Limiter::new((*value)?);
    Some(Box::new(Rrl { limiter, cluster: parts.cluster.clone() }))
}

/// `rrl` at work.
#[derive(Debug)]
struct Rrl {
    limiter: Limiter,
    cluster: Option<Arc<View>>,
}

impl Rrl {
    /// Whether an address is outside the cluster and outside all private networks.
    fn is_outside(&self, address: IpAddr) -> bool {
        let private = match address {
            IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local(),
        };
        !private && !self.cluster.as_ref().is_some_and(|view| view.read().knows(address))
    }
}

impl Handler for Rrl {
    /// Only datagrams are limited: the source address of a connection cannot be forged.
    fn begin(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Handled {
        let client = request.client;
        if client.transport != Transport::Udp || !self.is_outside(client.address) {
            return Handled::Next;
        }
        match self.limiter.count(client.address) {
            Decision::Send => Handled::Next,
            Decision::Drop => Handled::Drop,
            Decision::Truncate => {
                let mut reply = Reply::to(request.query, request.limit, out);
                reply.set(flag::TC);
                reply.finish(rcode::NOERROR);
                Handled::Reply
            }
        }
    }
}

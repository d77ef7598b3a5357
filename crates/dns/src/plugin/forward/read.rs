//! Reading the directive `forward`.

use std::net::{IpAddr, SocketAddr};

use super::{ForwardOptions, Policy, UpstreamAddress, UpstreamOption};
use crate::config::Scheme;
use crate::corefile::{Directive, Fault, Scope};
use crate::wire::rcode;

/// The options that are listed if one is not known.
const OPTIONS: [&str; 17] = [
    "except",
    "force_tcp",
    "prefer_udp",
    "expire",
    "max_fails",
    "tls",
    "tls_servername",
    "policy",
    "health_check",
    "max_concurrent",
    "read_timeout",
    "next",
    "failover",
    "failfast_all_unhealthy_upstreams",
    "source_address",
    "max_idle_conns",
    "max_age",
];
/// The most upstream resolvers of a directive, as in CoreDNS.
const MOST_UPSTREAMS: usize = 15;

/// Reads `forward FROM TO... { OPTION... }`.
pub(in crate::plugin) fn read(
    value: &mut Vec<ForwardOptions>,
    directive: &Directive,
    scope: &mut Scope<'_>,
) -> Result<(), Fault> {
    let [from, to @ ..] = directive.some("FROM TO...")? else { return Ok(()) };
    let from = directive.zones([from])?.swap_remove(0);
    if to.is_empty() || to.len() > MOST_UPSTREAMS {
        return Err(
            directive.fault(format!("write `forward FROM TO...` with 1 to {MOST_UPSTREAMS} upstreams"))
        );
    }
    let to = to.iter().map(|text| upstream(directive, text, scope)).collect::<Result<_, _>>()?;
    let mut forward = ForwardOptions::of(from, to);
    for option in &directive.options {
        read_option(directive, option, &mut forward, scope)?;
    }
    value.push(forward);
    Ok(())
}

fn read_option(
    directive: &Directive,
    option: &Directive,
    forward: &mut ForwardOptions,
    scope: &mut Scope<'_>,
) -> Result<(), Fault> {
    match &*option.name {
        "except" => forward.except.extend(option.zones(option.some("ZONE...")?)?),
        "force_tcp" => {
            option.bare()?;
            forward.force_tcp = true;
        }
        "prefer_udp" => {
            option.bare()?;
            forward.prefer_udp = true;
        }
        "expire" => forward.expire = option.duration(&option.exactly::<1>("DURATION")?[0])?,
        "max_fails" => forward.max_fails = option.number(&option.exactly::<1>("NUMBER")?[0])?,
        "tls" => match option.arguments.as_slice() {
            [] => {}
            [ca] => forward.ca = Some(scope.folder.join(ca)),
            [certificate, key, ca @ ..] => {
                forward.identity = Some([scope.folder.join(certificate), scope.folder.join(key)]);
                forward.ca = ca.first().map(|ca| scope.folder.join(ca));
            }
        },
        "tls_servername" => forward.tls_server_name = Some(option.exactly::<1>("NAME")?[0].clone()),
        "policy" => {
            forward.policy = match option.exactly::<1>("random|round_robin|sequential")?[0].as_str() {
                "random" => Policy::Random,
                "round_robin" => Policy::RoundRobin,
                "sequential" => Policy::Sequential,
                other => {
                    return Err(option.fault(format!("{other:?}: write random, round_robin or sequential")));
                }
            }
        }
        "health_check" => health_check(option, forward)?,
        "max_concurrent" => {
            forward.max_concurrent =
                Some(option.number(&option.exactly::<1>("NUMBER")?[0])?).filter(|most| *most > 0);
        }
        "read_timeout" => forward.read_timeout = option.duration(&option.exactly::<1>("DURATION")?[0])?,
        "next" => forward.next.extend(codes(option)?),
        "failover" => forward.failover.extend(codes(option)?),
        "failfast_all_unhealthy_upstreams" => {
            option.bare()?;
            forward.fail_fast = true;
        }
        "source_address" => {
            let text = &option.exactly::<1>("ADDRESS")?[0];
            forward.source = Some(text.parse().map_err(|_| option.fault(format!("{text:?} is no address")))?);
        }
        "max_idle_conns" | "max_connect_attempts" | "max_age" | "doh_method" | "resolver" => {
            scope.warn(option.line, &format!("{} of forward has no effect here", option.name));
        }
        _ => return Err(directive.unknown_option(option, &OPTIONS)),
    }
    Ok(())
}

fn health_check(option: &Directive, forward: &mut ForwardOptions) -> Result<(), Fault> {
    let [every, rest @ ..] = option.some("DURATION [no_rec] [domain NAME]")? else { return Ok(()) };
    forward.health_check.every = option.duration(every)?;
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        match (word.as_str(), word == "domain") {
            ("no_rec", _) => forward.health_check.recursion = false,
            (_, true) => {
                let name = rest.next().ok_or_else(|| option.fault("domain needs a name"))?;
                forward.health_check.name = option.zones([name])?.swap_remove(0);
            }
            (other, _) => return Err(option.fault(format!("{other:?}: write no_rec or domain NAME"))),
        }
    }
    Ok(())
}

/// Reads response codes.
fn codes(option: &Directive) -> Result<Vec<u16>, Fault> {
    let names = option.some("RCODE...")?.iter();
    let code = |name: &String| {
        rcode::by_name(name).filter(|code| *code != rcode::NOERROR).ok_or_else(|| {
            option.fault(format!("{name:?} is no code of a failure; write SERVFAIL, NXDOMAIN, REFUSED"))
        })
    };
    names.map(code).collect()
}

/// Reads an upstream resolver: `10.0.0.1`, `[::1]:5353`, `dns://…`, `tls://9.9.9.9%name`, `https://…` or
/// `/etc/resolv.conf`.
fn upstream(directive: &Directive, text: &str, scope: &Scope<'_>) -> Result<UpstreamOption, Fault> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("dns", text));
    let Some(scheme) = Scheme::ALL.into_iter().find(|known| known.name() == scheme) else {
        return Err(directive.fault(format!("{scheme}:// cannot be asked; use dns://, tls:// or https://")));
    };
    let (address, name) = match rest.split_once('%') {
        Some((address, name)) => match name.rsplit_once(':') {
            Some((name, port)) => (format!("{address}:{port}"), Some(name.to_owned())),
            None => (address.to_owned(), Some(name.to_owned())),
        },
        None => (rest.to_owned(), None),
    };
    let address = match socket(address.trim_end_matches("/dns-query"), scheme.port()) {
        Some(socket) => UpstreamAddress::Socket(socket),
        None if scheme == Scheme::Dns => {
            let path = scope.folder.join(rest);
            if !path.exists() {
                let text = format!("{rest:?} is neither an address nor a file that is there");
                return Err(directive.fault(text));
            }
            UpstreamAddress::File(path)
        }
        None => return Err(directive.fault(format!("{rest:?} is no address"))),
    };
    Ok(match scheme {
        Scheme::Dns => UpstreamOption::Plain(address),
        Scheme::Tls => UpstreamOption::Tls(address, name),
        Scheme::Https => UpstreamOption::Https(address, name),
    })
}

fn socket(text: &str, port: u16) -> Option<SocketAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().map(|address| SocketAddr::new(address, port)).ok().or_else(|| text.parse().ok())
}

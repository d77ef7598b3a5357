//! `forward` and `cache`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::Fault;
use super::directives::Read;
use super::syntax::Directive;
use crate::config::{Cache, Forward, Kept, Policy, Prefetch, Stale, Upstream, UpstreamAddress};
use crate::wire::{Name, rcode};

/// The options of `forward`.
const FORWARD: [&str; 17] = [
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
/// The options of `cache`.
const CACHE: [&str; 7] = ["success", "denial", "prefetch", "serve_stale", "servfail", "disable", "keepttl"];
/// How many upstreams a `forward` may have, as in CoreDNS.
const MOST_UPSTREAMS: usize = 15;

pub(super) fn forward(directive: &Directive, read: &mut Read<'_>) -> Result<(), Fault> {
    let [from, to @ ..] = directive.some("FROM TO...")? else { return Ok(()) };
    let from = directive.zones([from])?.swap_remove(0);
    if to.is_empty() || to.len() > MOST_UPSTREAMS {
        return Err(
            directive.fault(format!("write `forward FROM TO...` with 1 to {MOST_UPSTREAMS} upstreams"))
        );
    }
    let to = to.iter().map(|text| upstream(directive, text, read)).collect::<Result<_, _>>()?;
    let mut forward = Forward::of(from, to);
    for option in &directive.options {
        forward_option(directive, option, &mut forward, read)?;
    }
    read.plugins.forward.push(forward);
    Ok(())
}

fn forward_option(
    directive: &Directive,
    option: &Directive,
    forward: &mut Forward,
    read: &mut Read<'_>,
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
            [ca] => forward.ca = Some(read.folder.join(ca)),
            [certificate, key, ca @ ..] => {
                forward.identity = Some([read.folder.join(certificate), read.folder.join(key)]);
                forward.ca = ca.first().map(|ca| read.folder.join(ca));
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
            read.warn(option.line, &format!("{} of forward has no effect here", option.name));
        }
        _ => return Err(directive.unknown_option(option, &FORWARD)),
    }
    Ok(())
}

fn health_check(option: &Directive, forward: &mut Forward) -> Result<(), Fault> {
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

/// Response codes by name.
fn codes(option: &Directive) -> Result<Vec<u16>, Fault> {
    let names = option.some("RCODE...")?.iter();
    let code = |name: &String| {
        rcode::by_name(name).filter(|code| *code != rcode::NOERROR).ok_or_else(|| {
            option.fault(format!("{name:?} is no code of a failure; write SERVFAIL, NXDOMAIN, REFUSED"))
        })
    };
    names.map(code).collect()
}

/// `10.0.0.1`, `[::1]:5353`, `dns://…`, `tls://9.9.9.9%name`, `https://…`, `/etc/resolv.conf`.
fn upstream(directive: &Directive, text: &str, read: &Read<'_>) -> Result<Upstream, Fault> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("dns", text));
    let port = match scheme {
        "dns" => 53,
        "tls" => 853,
        "https" => 443,
        _ => {
            return Err(
                directive.fault(format!("{scheme}:// cannot be asked; use dns://, tls:// or https://"))
            );
        }
    };
    let (address, name) = match rest.split_once('%') {
        Some((address, name)) => match name.rsplit_once(':') {
            Some((name, port)) => (format!("{address}:{port}"), Some(name.to_owned())),
            None => (address.to_owned(), Some(name.to_owned())),
        },
        None => (rest.to_owned(), None),
    };
    let address = match socket(address.trim_end_matches("/dns-query"), port) {
        Some(socket) => UpstreamAddress::Socket(socket),
        None if scheme == "dns" => {
            let path = read.folder.join(rest);
            if !path.exists() {
                let text = format!("{rest:?} is neither an address nor a file that is there");
                return Err(directive.fault(text));
            }
            UpstreamAddress::File(path)
        }
        None => return Err(directive.fault(format!("{rest:?} is no address"))),
    };
    Ok(match scheme {
        "tls" => Upstream::Tls(address, name),
        "https" => Upstream::Https(address, name),
        _ => Upstream::Plain(address),
    })
}

fn socket(text: &str, port: u16) -> Option<SocketAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().map(|address| SocketAddr::new(address, port)).ok().or_else(|| text.parse().ok())
}

pub(super) fn cache(directive: &Directive, read: &mut Read<'_>) -> Result<(), Fault> {
    let mut cache = Cache::default();
    let (longest, zones) = match directive.arguments.split_first() {
        Some((first, zones)) if first.bytes().all(|byte| byte.is_ascii_digit()) => {
            (Some(directive.number::<u32>(first)?), zones)
        }
        _ => (None, directive.arguments.as_slice()),
    };
    cache.zones = directive.zones(zones)?;
    if let Some(longest) = longest {
        let longest = Duration::from_secs(longest.into());
        if longest.is_zero() {
            return Err(directive.fault("a cache that keeps nothing is of no use; write 1 second or more"));
        }
        cache.success.longest = longest;
        cache.denial.longest = longest;
    }
    for option in &directive.options {
        cache_option(directive, option, &mut cache)?;
    }
    read.plugins.cache = Some(cache);
    Ok(())
}

fn cache_option(directive: &Directive, option: &Directive, cache: &mut Cache) -> Result<(), Fault> {
    match &*option.name {
        "success" => kept(option, &mut cache.success)?,
        "denial" => kept(option, &mut cache.denial)?,
        "servfail" => {
            cache.failure = option.duration(&option.exactly::<1>("DURATION")?[0])?;
            if cache.failure > Duration::from_secs(300) {
                return Err(option.fault("a failure is remembered for 5m at most (RFC 2308)"));
            }
        }
        "prefetch" => cache.prefetch = Some(prefetch(option)?),
        "serve_stale" => cache.stale = Some(stale(option)?),
        "disable" => {
            let [what, zones @ ..] = option.some("success|denial [ZONE...]")? else { return Ok(()) };
            let zones = if zones.is_empty() { vec![Name::root()] } else { option.zones(zones)? };
            match what.as_str() {
                "success" => cache.success.disabled.extend(zones),
                "denial" => cache.denial.disabled.extend(zones),
                other => return Err(option.fault(format!("{other:?}: write success or denial"))),
            }
        }
        "keepttl" => {
            option.bare()?;
            cache.keep_ttl = true;
        }
        _ => return Err(directive.unknown_option(option, &CACHE)),
    }
    Ok(())
}

fn kept(option: &Directive, kept: &mut Kept) -> Result<(), Fault> {
    let numbers = option.some("CAPACITY [TTL] [MINTTL]")?;
    kept.capacity = option.number(&numbers[0])?;
    let seconds = |at: usize| numbers.get(at).map(|text| option.number(text)).transpose();
    kept.longest = seconds(1)?.map_or(kept.longest, Duration::from_secs);
    kept.shortest = seconds(2)?.map_or(kept.shortest.min(kept.longest), Duration::from_secs);
    Ok(())
}

fn prefetch(option: &Directive) -> Result<Prefetch, Fault> {
    let words = option.some("AMOUNT [DURATION] [PERCENTAGE%]")?;
    let mut prefetch =
        Prefetch { amount: option.number(&words[0])?, pause: Duration::from_secs(60), percentage: 10 };
    if let Some(pause) = words.get(1) {
        prefetch.pause = option.duration(pause)?;
    }
    if let Some(percentage) = words.get(2) {
        let number = percentage.strip_suffix('%').and_then(|number| number.parse().ok());
        prefetch.percentage = number
            .filter(|number| (10..=90).contains(number))
            .ok_or_else(|| option.fault(format!("{percentage:?}: write a percentage from 10% to 90%")))?;
    }
    Ok(prefetch)
}

/// `serve_stale [DURATION] [immediate [TTL]] | [verify [WAIT [TTL]]]`.
fn stale(option: &Directive) -> Result<Stale, Fault> {
    let mut words = option.arguments.iter().map(String::as_str).peekable();
    let mut stale = Stale { longest: Duration::from_secs(3600), wait: Some(Duration::ZERO), ttl: 0 };
    if let Some(text) = words.next_if(|word| !matches!(*word, "immediate" | "verify")) {
        stale.longest = option.duration(text)?;
    }
    match words.next() {
        None | Some("immediate") => {}
        Some("verify") => {
            let wait = words.next().map_or(Ok(Duration::ZERO), |text| option.duration(text))?;
            stale.wait = Some(wait).filter(|wait| !wait.is_zero());
        }
        Some(other) => return Err(option.fault(format!("{other:?}: write immediate or verify"))),
    }
    if let Some(ttl) = words.next() {
        stale.ttl = option.seconds(ttl, 3600)?;
    }
    Ok(stale)
}

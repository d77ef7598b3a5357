//! Reading the directive `cache`.

use std::time::Duration;

use super::{CacheLimits, CacheOptions, PrefetchOptions, StaleOptions};
use crate::corefile::{Directive, Fault, Scope};
use crate::wire::Name;

/// The options that are listed if one is not known.
const OPTIONS: [&str; 7] = ["success", "denial", "prefetch", "serve_stale", "servfail", "disable", "keepttl"];

/// Reads `cache [TTL] [ZONE...] { OPTION... }`.
pub(in crate::plugin) fn read(
    value: &mut Option<CacheOptions>,
    directive: &Directive,
    _: &mut Scope<'_>,
) -> Result<(), Fault> {
    let mut cache = CacheOptions::default();
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
        read_option(directive, option, &mut cache)?;
    }
    *value = Some(cache);
    Ok(())
}

fn read_option(directive: &Directive, option: &Directive, cache: &mut CacheOptions) -> Result<(), Fault> {
    match &*option.name {
        "success" => limits(option, &mut cache.success)?,
        "denial" => limits(option, &mut cache.denial)?,
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
        _ => return Err(directive.unknown_option(option, &OPTIONS)),
    }
    Ok(())
}

fn limits(option: &Directive, limits: &mut CacheLimits) -> Result<(), Fault> {
    let numbers = option.some("CAPACITY [TTL] [MINTTL]")?;
    limits.capacity = option.number(&numbers[0])?;
    let seconds = |at: usize| numbers.get(at).map(|text| option.number(text)).transpose();
    limits.longest = seconds(1)?.map_or(limits.longest, Duration::from_secs);
    limits.shortest = seconds(2)?.map_or(limits.shortest.min(limits.longest), Duration::from_secs);
    Ok(())
}

fn prefetch(option: &Directive) -> Result<PrefetchOptions, Fault> {
    let words = option.some("AMOUNT [DURATION] [PERCENTAGE%]")?;
    let mut prefetch =
        PrefetchOptions { amount: option.number(&words[0])?, pause: Duration::from_secs(60), percentage: 10 };
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

/// Reads `serve_stale [DURATION] [immediate [TTL]] | [verify [WAIT [TTL]]]`.
fn stale(option: &Directive) -> Result<StaleOptions, Fault> {
    let mut words = option.arguments.iter().map(String::as_str).peekable();
    let mut stale = StaleOptions { longest: Duration::from_secs(3600), wait: Some(Duration::ZERO), ttl: 0 };
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

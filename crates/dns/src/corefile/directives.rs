//! The table of directives, and those that are one line.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::syntax::Directive;
use super::{Fault, cluster, outside, rules};
use crate::config::{Health, Limits, LogClass, Plugins, Tls};
use crate::wire::Name;

/// What is read of a server block so far.
pub(super) struct Read<'a> {
    /// Where files are.
    pub(super) folder: &'a Path,
    /// The zones of the block.
    pub(super) zones: &'a [Name],
    pub(super) plugins: Plugins,
    pub(super) bind: Vec<IpAddr>,
    pub(super) warnings: &'a mut Vec<String>,
}

impl Read<'_> {
    /// Zones that arguments name, else those of the block.
    pub(super) fn zones_or_own(&self, directive: &Directive, texts: &[String]) -> Result<Vec<Name>, Fault> {
        if texts.is_empty() { Ok(self.zones.to_vec()) } else { directive.zones(texts) }
    }

    /// Says that something has no effect.
    pub(super) fn warn(&mut self, line: usize, text: &str) {
        self.warnings.push(format!("line {line}: {text}"));
    }
}

type Take = fn(&Directive, &mut Read<'_>) -> Result<(), Fault>;

/// All directives, in the order of their names.
pub(super) const DIRECTIVES: &[(&str, Take)] = &[
    ("any", nothing_to_do),
    ("autopath", cluster::autopath),
    ("bind", bind),
    ("bufsize", buffer),
    ("cache", outside::cache),
    ("cancel", without_effect),
    ("debug", without_effect),
    ("errors", errors),
    ("forward", outside::forward),
    ("health", health),
    ("hosts", rules::hosts),
    ("kubernetes", cluster::kubernetes),
    ("loadbalance", balance),
    ("log", log),
    ("loop", detect_loops),
    ("metadata", without_effect),
    ("minimal", without_effect),
    ("multisocket", sockets),
    ("pprof", without_effect),
    ("prometheus", metrics),
    ("ready", ready),
    ("reload", reload),
    ("rewrite", rules::rewrite),
    ("rrl", limits),
    ("shed", without_effect),
    ("template", rules::template),
    ("timeouts", without_effect),
    ("tls", tls),
    ("transfer", cluster::transfer),
];

/// The fault that a directive is not in the table.
pub(super) fn unknown(directive: &Directive) -> Fault {
    let names: Vec<_> = DIRECTIVES.iter().map(|(name, _)| *name).collect();
    let text = format!("there is no directive {:?}; there are {}", directive.name, names.join(", "));
    Fault::new(directive.line, text)
}

/// What is always so: ANY is answered with one small record (RFC 8482).
fn nothing_to_do(directive: &Directive, _: &mut Read<'_>) -> Result<(), Fault> {
    directive.bare()
}

/// What CoreDNS needs and this server does not.
fn without_effect(directive: &Directive, read: &mut Read<'_>) -> Result<(), Fault> {
    read.warn(directive.line, &format!("{} has no effect here", directive.name));
    Ok(())
}

fn bind(directive: &Directive, read: &mut Read<'_>) -> Result<(), Fault> {
    for text in directive.some("ADDRESS|INTERFACE...")? {
        let addresses = match text.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => crate::interfaces::addresses(text)
                .filter(|addresses| !addresses.is_empty())
                .ok_or_else(|| {
                    directive.fault(format!("{text:?} is neither an address nor an interface that has one"))
                })?,
        };
        read.bind.extend(addresses);
    }
    if let Some(option) = directive.options.iter().find(|option| option.name != "except") {
        return Err(directive.unknown_option(option, &["except"]));
    }
    for except in &directive.options {
        let excluded = except.arguments.iter().flat_map(|text| match text.parse() {
            Ok(address) => vec![address],
            Err(_) => crate::interfaces::addresses(text).unwrap_or_default(),
        });
        let excluded: Vec<IpAddr> = excluded.collect();
        read.bind.retain(|address| !excluded.contains(address));
    }
    Ok(())
}

fn buffer(directive: &Directive, read: &mut Read<'_>) -> Result<(), Fault> {
    let size = directive.at_most_one("SIZE")?.map_or(Ok(1232), |text| directive.number(text))?;
    if !(512..=4096).contains(&size) {
        return Err(directive.fault("the largest reply over UDP is from 512 to 4096 bytes"));
    }
    read.plugins.buffer = Some(size);
    Ok(())
}

fn errors(directive: &Directive, read: &mut Read<'_>) -> Result<(), Fault> {
    for option in &directive.options {
        match &*option.name {
            "consolidate" | "stacktrace" | "show_first" => {}
            _ => return Err(directive.unknown_option(option, &["consolidate", "stacktrace"])),
        }
    }
    read.plugins.errors = true;
    Ok(())
}

fn health(directive: &Directive, read: &mut Read<'_>) -> Result<(), Fault> {
    let address = directive.listen(directive.at_most_one("ADDRESS")?.unwrap_or(":8080"))?;
    let mut lame_duck = Duration::ZERO;
    for option in &directive.options {
        match &*option.name {
            "lameduck" => lame_duck = option.duration(&option.exactly::<1>("DURATION")?[0])?,
            _ => return Err(directive.unknown_option(option, &["lameduck"])),
        }
    }
    read.plugins.health = Some(Health { address, lame_duck });
    Ok(())
}

fn balance(directive: &Directive, read: &mut Read<'_>) -> Result<(), Fault> {
    match directive.arguments.first().map(String::as_str) {
        None | Some("round_robin") => read.plugins.balance = true,
        Some(other) => {
            let text = format!("the policy {other:?} is not there; use round_robin");
            return Err(directive.fault(text));
        }
    }
    match directive.options.first() {
        None => Ok(()),
        Some(option) => Err(directive.unknown_option(option, &["none"])),
    }
}

fn log(directive: &Directive, read: &mut Read<'_>) -> Result<(), Fault> {
    let mut log = read.plugins.log.take().unwrap_or_default();
    // A format may follow the zone; lines of this server have one form.
    let zones = directive.arguments.iter().take(1).filter(|zone| *zone != ".");
    log.zones.extend(directive.zones(zones)?);
    for option in &directive.options {
        match &*option.name {
            "class" => {
                for class in option.some("success|denial|error|all")? {
                    match class.as_str() {
                        "success" => log.classes.push(LogClass::Success),
                        "denial" => log.classes.push(LogClass::Denial),
                        "error" => log.classes.push(LogClass::Error),
                        "all" => log.classes.extend([LogClass::Success, LogClass::Denial, LogClass::Error]),
                        _ => return Err(option.fault(format!("{class:?} is no class of replies"))),
                    }
                }
            }
            _ => return Err(directive.unknown_option(option, &["class"])),
        }
    }
    read.plugins.log = Some(log);
    Ok(())
}

fn detect_loops(directive: &Directive, read: &mut Read<'_>) -> Result<(), Fault> {
    directive.bare()?;
    read.plugins.detect_loops = true;
    Ok(())
}

fn sockets(directive: &Directive, read: &mut Read<'_>) -> Result<(), Fault> {
    let count = directive.at_most_one("NUMBER")?.map(|text| directive.number(text)).transpose()?;
    if count.is_some_and(|count| !(1..=1024).contains(&count)) {
        return Err(directive.fault("there can be 1 to 1024 sockets"));
    }
    read.plugins.sockets = count;
    Ok(())
}

fn metrics(directive: &Directive, read: &mut Read<'_>) -> Result<(), Fault> {
    read.plugins.metrics =
        Some(directive.listen(directive.at_most_one("ADDRESS")?.unwrap_or("localhost:9153"))?);
    Ok(())
}

fn ready(directive: &Directive, read: &mut Read<'_>) -> Result<(), Fault> {
    read.plugins.ready = Some(directive.listen(directive.at_most_one("ADDRESS")?.unwrap_or(":8181"))?);
    Ok(())
}

/// The pause between two looks. The random part that CoreDNS adds is not needed by one process alone.
fn reload(directive: &Directive, read: &mut Read<'_>) -> Result<(), Fault> {
    let every = match directive.arguments.as_slice() {
        [] => Duration::from_secs(30),
        [off] if off == "off" => return Ok(()),
        [every] | [every, _] => directive.duration(every)?,
        _ => return Err(directive.fault("write `reload [INTERVAL] [JITTER]`")),
    };
    if every < Duration::from_secs(2) {
        return Err(directive.fault("the shortest interval is 2s"));
    }
    read.plugins.reload = Some(every);
    Ok(())
}

fn limits(directive: &Directive, read: &mut Read<'_>) -> Result<(), Fault> {
    let mut limits = Limits { responses_per_second: 0, slip: 2 };
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
    read.plugins.limits = Some(limits);
    Ok(())
}

fn tls(directive: &Directive, read: &mut Read<'_>) -> Result<(), Fault> {
    let ([certificate, key] | [certificate, key, _]) = directive.arguments.as_slice() else {
        return Err(directive.fault("write `tls CERT KEY`"));
    };
    if directive.arguments.len() == 3 {
        read.warn(directive.line, "clients are not asked for certificates, so the CA of tls has no effect");
    }
    read.plugins.tls = Some(Tls { certificate: read.folder.join(certificate), key: read.folder.join(key) });
    Ok(())
}

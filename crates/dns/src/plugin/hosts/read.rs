//! Reading the directive `hosts`.

use std::net::IpAddr;
use std::time::Duration;

use super::HostsOptions;
use crate::corefile::{Directive, Fault, Scope};

/// Reads `hosts [FILE [ZONE...]] { OPTION...; ADDRESS NAME... }`.
pub(in crate::plugin) fn read(
    value: &mut Option<HostsOptions>,
    directive: &Directive,
    scope: &mut Scope<'_>,
) -> Result<(), Fault> {
    let (file, zones) = match directive.arguments.split_first() {
        Some((file, zones)) => (Some(scope.folder.join(file)), zones),
        None => (None, &[][..]),
    };
    let mut hosts = HostsOptions {
        file,
        zones: scope.zones_or_own(directive, zones)?,
        lines: Vec::new(),
        ttl: 3600,
        reverse: true,
        reload: Duration::from_secs(5),
        fall_through: None,
    };
    for option in &directive.options {
        match &*option.name {
            "ttl" => hosts.ttl = option.seconds(&option.exactly::<1>("SECONDS")?[0], 65_535)?,
            "no_reverse" => {
                option.bare()?;
                hosts.reverse = false;
            }
            "reload" => hosts.reload = option.duration(&option.exactly::<1>("DURATION")?[0])?,
            "fallthrough" => hosts.fall_through = Some(option.fall_through()?),
            address if address.parse::<IpAddr>().is_ok() => {
                let names = option.some("NAME...")?;
                option.zones(names)?;
                hosts.lines.push(format!("{address} {}", names.join(" ")));
            }
            _ => {
                let known = ["ttl", "no_reverse", "reload", "fallthrough", "lines of an address and names"];
                return Err(directive.unknown_option(option, &known));
            }
        }
    }
    if hosts.file.is_none() && hosts.lines.is_empty() {
        hosts.file = Some("/etc/hosts".into());
    }
    *value = Some(hosts);
    Ok(())
}

//! Arguments of directives as values.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use super::syntax::Directive;
use super::{Fault, key};
use crate::wire::Name;

/// What the time units of Go's durations are worth, in nanoseconds; longer names first.
const UNITS: [(&str, f64); 7] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

impl Directive {
    /// A fault of this directive.
    pub(super) fn fault(&self, text: impl std::fmt::Display) -> Fault {
        Fault::new(self.line, format!("{}: {text}", self.name))
    }

    /// The fault that an option is not known.
    pub(super) fn unknown_option(&self, option: &Self, known: &[&str]) -> Fault {
        let text = format!("{} has no option {:?}; there are {}", self.name, option.name, known.join(", "));
        Fault::new(option.line, text)
    }

    /// Exactly so many arguments.
    pub(super) fn exactly<const N: usize>(&self, what: &str) -> Result<&[String; N], Fault> {
        self.arguments.as_slice().try_into().map_err(|_| self.fault(format!("write `{} {what}`", self.name)))
    }

    /// At most one argument.
    pub(super) fn at_most_one(&self, what: &str) -> Result<Option<&str>, Fault> {
        match self.arguments.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            _ => Err(self.fault(format!("write `{} [{what}]`", self.name))),
        }
    }

    /// No argument and no option.
    pub(super) fn bare(&self) -> Result<(), Fault> {
        if self.arguments.is_empty() && self.options.is_empty() {
            return Ok(());
        }
        Err(self.fault("it takes no arguments"))
    }

    /// At least one argument.
    pub(super) fn some(&self, what: &str) -> Result<&[String], Fault> {
        if self.arguments.is_empty() {
            return Err(self.fault(format!("write `{} {what}`", self.name)));
        }
        Ok(&self.arguments)
    }

    /// A number.
    pub(super) fn number<T: FromStr>(&self, text: &str) -> Result<T, Fault> {
        text.parse().map_err(|_| self.fault(format!("{text:?} is no number that fits here")))
    }

    /// A number of seconds, 0 to `most`, with or without the unit.
    pub(super) fn seconds(&self, text: &str, most: u32) -> Result<u32, Fault> {
        let number = match text.parse::<u32>() {
            Ok(number) => Some(number),
            Err(_) => duration(text).and_then(|duration| u32::try_from(duration.as_secs()).ok()),
        };
        number
            .filter(|number| *number <= most)
            .ok_or_else(|| self.fault(format!("{text:?} is no number of seconds from 0 to {most}")))
    }

    /// A duration such as `5s` or `1m30s`.
    pub(super) fn duration(&self, text: &str) -> Result<Duration, Fault> {
        duration(text).ok_or_else(|| self.fault(format!("{text:?} is no duration; write 500ms, 5s or 1h30m")))
    }

    /// Names of zones; reverse ones also as blocks of addresses.
    pub(super) fn zones<'a>(&self, texts: impl IntoIterator<Item = &'a String>) -> Result<Vec<Name>, Fault> {
        let mut zones = Vec::new();
        for text in texts {
            zones.extend(key::zones(text).map_err(|text| self.fault(text))?);
        }
        Ok(zones)
    }

    /// An address to listen on: `:8080`, `localhost:8080`, `10.0.0.1:8080`.
    pub(super) fn listen(&self, text: &str) -> Result<SocketAddr, Fault> {
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        let host = match host.trim_start_matches('[').trim_end_matches(']') {
            "" => Some(IpAddr::from(Ipv6Addr::UNSPECIFIED)),
            "localhost" => Some(IpAddr::from(Ipv4Addr::LOCALHOST)),
            host => host.parse().ok(),
        };
        host.zip(port.parse().ok()).map(|(host, port)| SocketAddr::new(host, port)).ok_or_else(|| {
            self.fault(format!("{text:?} is no address to listen on; write :8080 or 10.0.0.1:8080"))
        })
    }
}

/// A duration as Go writes it, not negative.
fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut nanoseconds) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = UNITS.iter().filter(|(unit, _)| rest[digits..].starts_with(unit));
        let (unit, worth) = unit.max_by_key(|(unit, _)| unit.len())?;
        nanoseconds += number * worth;
        rest = &rest[digits + unit.len()..];
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(nanoseconds / 1e9).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_in_go() {
        for (text, milliseconds) in
            [("5s", 5000), ("500ms", 500), ("1m30s", 90_000), ("1.5h", 5_400_000), ("0", 0), ("0s", 0)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in ["", "5", "s", "-1s", "5x", "1m30"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}

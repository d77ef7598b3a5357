//! Reading the arguments of directives and options.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use service::duration;

use super::fault::Fault;
use super::syntax::Directive;
use super::zones::zones;
use crate::wire::Name;

impl Directive {
    /// The fault of this directive, with a text.
    pub(crate) fn fault(&self, text: impl std::fmt::Display) -> Fault {
        Fault::new(self.line, format!("{}: {text}", self.name))
    }

    /// The fault that this directive has no such option; `known` are those that it has.
    pub(crate) fn unknown_option(&self, option: &Self, known: &[&str]) -> Fault {
        let text = format!("{} has no option {:?}; there are {}", self.name, option.name, known.join(", "));
        Fault::new(option.line, text)
    }

    /// Exactly `N` arguments. `what` names them in the fault.
    pub(crate) fn exactly<const N: usize>(&self, what: &str) -> Result<&[String; N], Fault> {
        self.arguments.as_slice().try_into().map_err(|_| self.fault(format!("write `{} {what}`", self.name)))
    }

    /// At most one argument. `what` names it in the fault.
    pub(crate) fn at_most_one(&self, what: &str) -> Result<Option<&str>, Fault> {
        match self.arguments.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            _ => Err(self.fault(format!("write `{} [{what}]`", self.name))),
        }
    }

    /// Checks that there is no argument and no option.
    pub(crate) fn bare(&self) -> Result<(), Fault> {
        if self.arguments.is_empty() && self.options.is_empty() {
            return Ok(());
        }
        Err(self.fault("it takes no arguments"))
    }

    /// At least one argument. `what` names them in the fault.
    pub(crate) fn some(&self, what: &str) -> Result<&[String], Fault> {
        if self.arguments.is_empty() {
            return Err(self.fault(format!("write `{} {what}`", self.name)));
        }
        Ok(&self.arguments)
    }

    /// A number.
    pub(crate) fn number<T: FromStr>(&self, text: &str) -> Result<T, Fault> {
        text.parse().map_err(|_| self.fault(format!("{text:?} is no number that fits here")))
    }

    /// The number that a name stands for, such as the type of a record.
    pub(crate) fn code(&self, name: &str, by_name: fn(&str) -> Option<u16>) -> Result<u16, Fault> {
        by_name(name).ok_or_else(|| self.fault(format!("{name:?} is not known")))
    }

    /// A number of seconds from 0 to `most`, written as a number or as a duration.
    pub(crate) fn seconds(&self, text: &str, most: u32) -> Result<u32, Fault> {
        let number = match text.parse::<u32>() {
            Ok(number) => Some(number),
            Err(_) => duration::parse(text).and_then(|duration| u32::try_from(duration.as_secs()).ok()),
        };
        number
            .filter(|number| *number <= most)
            .ok_or_else(|| self.fault(format!("{text:?} is no number of seconds from 0 to {most}")))
    }

    /// A duration such as `5s` or `1m30s`.
    pub(crate) fn duration(&self, text: &str) -> Result<Duration, Fault> {
        duration::parse(text)
            .ok_or_else(|| self.fault(format!("{text:?} is no duration; write 500ms, 5s or 1h30m")))
    }

    /// Zones, written as names or as blocks of addresses.
    pub(crate) fn zones<'a>(&self, texts: impl IntoIterator<Item = &'a String>) -> Result<Vec<Name>, Fault> {
        let mut found = Vec::new();
        for text in texts {
            found.extend(zones(text).map_err(|error| self.fault(error))?);
        }
        Ok(found)
    }

    /// The zones of `fallthrough`: those that the arguments name; without arguments all names, which are those below
    /// the root.
    pub(crate) fn fall_through(&self) -> Result<Vec<Name>, Fault> {
        if self.arguments.is_empty() { Ok(vec![Name::root()]) } else { self.zones(&self.arguments) }
    }

    /// An address to listen on: `:8080`, `localhost:8080`, `10.0.0.1:8080`.
    pub(crate) fn listen(&self, text: &str) -> Result<SocketAddr, Fault> {
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

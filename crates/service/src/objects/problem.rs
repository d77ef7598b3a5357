//! What an object says that cannot be meant.

use std::fmt::Display;
use std::net::IpAddr;

use crate::Cidr;

/// Sentences about fields that were left out, each beginning with the field's path. One object's mistake stops
/// nothing but itself; whoever reads the object tells its author.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<String>);

impl Problems {
    /// Notes that the field's value cannot be meant, and why.
    pub(crate) fn note(&mut self, field: impl Display, value: impl Display, why: &str) {
        self.0.push(format!("{field}: {value} {why}").trim_end().to_owned());
    }

    /// That nothing of the object can be read.
    pub(crate) fn unreadable(why: &str) -> Self {
        Self(vec![format!("the object cannot be read and is left out: {why}")])
    }

    /// The sentences.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Addresses; what is none is noted.
    pub(crate) fn addresses<'a>(
        &mut self,
        field: &str,
        texts: impl IntoIterator<Item = &'a String>,
    ) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        for text in texts.into_iter().filter(|text| !text.is_empty()) {
            match text.trim().parse() {
                Ok(address) => addresses.push(address),
                Err(_) => self.note(field, text, "is no IP address"),
            }
        }
        addresses
    }

    /// Address ranges; what is none is noted. Bits beyond the prefix do not count.
    pub(crate) fn ranges<'a>(
        &mut self,
        field: &str,
        texts: impl IntoIterator<Item = &'a String>,
    ) -> Vec<Cidr> {
        let mut ranges = Vec::new();
        for text in texts {
            let range = text
                .trim()
                .split_once('/')
                .and_then(|(address, prefix)| Cidr::new(address.parse().ok()?, prefix.parse().ok()?));
            match range {
                Some(range) => ranges.push(range),
                None => self.note(field, text, "is no address range such as 203.0.113.0/24"),
            }
        }
        ranges
    }
}

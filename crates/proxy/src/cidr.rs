//! Ranges of addresses.

use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

/// A range of addresses that share their first bits, such as `10.244.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// The text is no range of addresses.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "{0:?} is no range of addresses; write it as address/bits, such as 10.244.0.0/16 or fd00:10:244::/56"
)]
pub struct BadCidr(String);

impl Cidr {
    /// The range of `prefix` leading bits around `address`; `None` if the family has fewer bits.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        (u32::from(prefix) <= bits(address)).then_some(Self { address, prefix })
    }

    /// An address in the range, which tells the family.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// First and last address as numbers.
    fn bounds(&self) -> (u128, u128) {
        let number = match self.address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        let host_bits = bits(self.address) - u32::from(self.prefix);
        let hosts = 1u128.checked_shl(host_bits).map_or(u128::MAX, |size| size - 1);
        (number & !hosts, number | hosts)
    }
}

impl FromStr for Cidr {
    type Err = BadCidr;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (address, prefix) = text.trim().split_once('/')?;
            Self::new(address.parse().ok()?, prefix.parse().ok()?)
        };
        parse().ok_or_else(|| BadCidr(text.to_owned()))
    }
}

/// First and last addresses of the ranges, in order, with those that touch joined, since the kernel takes
/// neither overlaps nor duplicates. All ranges must be of one family.
pub(crate) fn merged<'a>(ranges: impl Iterator<Item = &'a Cidr>) -> Vec<(u128, u128)> {
    let mut bounds: Vec<_> = ranges.map(Cidr::bounds).collect();
    bounds.sort_unstable();
    let mut joined: Vec<(u128, u128)> = Vec::new();
    for (first, last) in bounds {
        match joined.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}

fn bits(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(texts: &[&str]) -> Vec<(u128, u128)> {
        let ranges: Vec<Cidr> = texts.iter().map(|text| text.parse().unwrap()).collect();
        merged(ranges.iter())
    }

    #[test]
    fn overlapping_and_touching_ranges_are_joined() {
        assert_eq!(merge(&["10.0.1.0/24", "10.0.0.0/24", "10.0.0.7/32"]), [(0x0a00_0000, 0x0a00_01ff)]);
        assert_eq!(merge(&["10.0.0.0/24", "10.0.2.0/24"]).len(), 2);
        assert_eq!(merge(&["10.3.4.5/16"]), [(0x0a03_0000, 0x0a03_ffff)], "host bits do not count");
        assert_eq!(merge(&["::/0", "fd00::/8"]), [(0, u128::MAX)]);
    }

    #[test]
    fn a_bad_range_is_named() {
        for text in ["10.0.0.0", "10.0.0.0/33", "fd00::/129", "x/8", "10.0.0.0/-1"] {
            assert!(text.parse::<Cidr>().unwrap_err().to_string().contains(text), "{text}");
        }
    }
}

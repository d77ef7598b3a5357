//! Ranges of addresses and ports with their upstream bands.
//!
//! The lower band of a range is kept for values that users choose; automatic allocation begins in
//! the upper band (KEP-3070 for addresses, KEP-3668 for node ports).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A range that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Not ADDRESS/PREFIX.
    #[error("{0:?} is not a range of addresses; write it as ADDRESS/PREFIX, for example 10.96.0.0/16")]
    Cidr(String),
    /// Too few addresses to give any away.
    #[error("the range {0} has no room for Services; use a prefix of at most /30 (IPv4) or /126 (IPv6)")]
    TooSmall(String),
    /// Not FIRST-LAST.
    #[error("{0:?} is not a range of ports; write it as FIRST-LAST, for example 30000-32767")]
    Ports(String),
}

/// The addresses that Services get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpRange {
    network: IpAddr,
    prefix: u8,
}

impl IpRange {
    /// The first usable address: that of the `kubernetes` Service.
    pub fn first(&self) -> IpAddr {
        self.at(1)
    }

    /// The address at an offset from the network address.
    pub fn at(&self, offset: u64) -> IpAddr {
        match self.network {
            IpAddr::V4(network) => Ipv4Addr::from(u32::from(network).wrapping_add(offset as u32)).into(),
            IpAddr::V6(network) => {
                Ipv6Addr::from(u128::from(network).wrapping_add(u128::from(offset))).into()
            }
        }
    }

    /// The offset of a usable address; none if the address lies outside.
    pub(super) fn offset(&self, address: IpAddr) -> Option<u64> {
        let distance = match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                u128::from(u32::from(address).checked_sub(u32::from(network))?)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                u128::from(address).checked_sub(u128::from(network))?
            }
            _ => return None,
        };
        u64::try_from(distance).ok().filter(|offset| self.usable().contains(offset))
    }

    /// Usable offsets: not the network address, and in IPv4 not the broadcast address.
    pub(super) fn usable(&self) -> RangeInclusive<u64> {
        let last = self.size() - 1;
        1..=if self.network.is_ipv4() { last - 1 } else { last }
    }

    /// How many addresses there are, at most 2^62: no one gives away more.
    fn size(&self) -> u64 {
        let bits = if self.network.is_ipv4() { 32 } else { 128 } - self.prefix;
        1 << bits.min(62)
    }

    /// Where automatic allocation begins.
    pub(super) fn band(&self) -> u64 {
        match self.size() {
            0..=16 => 0,
            size => (size / 16).clamp(16, 256),
        }
    }

    /// `IPv4` or `IPv6`, as `spec.ipFamilies` names it.
    pub(super) fn family(&self) -> &'static str {
        if self.network.is_ipv4() { "IPv4" } else { "IPv6" }
    }
}

impl FromStr for IpRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let wrong = || RangeError::Cidr(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        let (bits, network) = match address {
            IpAddr::V4(v4) if prefix <= 32 => {
                let mask = u32::MAX.checked_shl(u32::from(32 - prefix)).unwrap_or(0);
                (32, Ipv4Addr::from(u32::from(v4) & mask).into())
            }
            IpAddr::V6(v6) if prefix <= 128 => {
                let mask = u128::MAX.checked_shl(u32::from(128 - prefix)).unwrap_or(0);
                (128, Ipv6Addr::from(u128::from(v6) & mask).into())
            }
            _ => return Err(wrong()),
        };
        if bits - prefix < 2 {
            return Err(RangeError::TooSmall(text.to_owned()));
        }
        Ok(Self { network, prefix })
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// The ports that Services get on every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// The ports of the range.
    pub(super) fn ports(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }

    /// The first port of the band that automatic allocation begins with.
    pub(super) fn band(self) -> u16 {
        let size = u32::from(self.last - self.first) + 1;
        let offset = if size <= 16 { 0 } else { (size / 32).clamp(16, 128) };
        self.first.saturating_add(offset as u16)
    }
}

impl FromStr for PortRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let wrong = || RangeError::Ports(text.to_owned());
        let (first, last) = text.split_once('-').ok_or_else(wrong)?;
        let first: u16 = first.trim().parse().map_err(|_| wrong())?;
        let last: u16 = last.trim().parse().map_err(|_| wrong())?;
        if first == 0 || last < first {
            return Err(wrong());
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_static_band_of_addresses_follows_kep_3070() {
        for (cidr, band) in
            [("10.96.0.0/16", 256), ("10.0.0.0/20", 256), ("10.0.0.0/24", 16), ("10.0.0.0/28", 0)]
        {
            assert_eq!(cidr.parse::<IpRange>().unwrap().band(), band, "{cidr}");
        }
    }

    #[test]
    fn the_static_band_of_ports_follows_kep_3668() {
        let range: PortRange = "30000-32767".parse().unwrap();
        assert_eq!(range.band() - 30000, 86);
    }

    #[test]
    fn network_and_broadcast_address_are_not_usable() {
        let range: IpRange = "10.96.0.0/24".parse().unwrap();
        let offset = |text: &str| range.offset(text.parse().unwrap());
        assert_eq!(offset("10.96.0.0"), None);
        assert_eq!(offset("10.96.0.1"), Some(1));
        assert_eq!(offset("10.96.0.254"), Some(254));
        assert_eq!(offset("10.96.0.255"), None);
        assert_eq!(offset("10.97.0.1"), None);
        assert_eq!(offset("fd00::1"), None);
        assert_eq!(range.first().to_string(), "10.96.0.1");
    }

    #[test]
    fn a_range_that_is_none_is_refused() {
        for text in ["", "10.96.0.0", "10.96.0.0/33", "x/8", "10.0.0.0/31"] {
            assert!(text.parse::<IpRange>().is_err(), "{text}");
        }
        for text in ["", "30000", "32767-30000", "0-5", "1-70000"] {
            assert!(text.parse::<PortRange>().is_err(), "{text}");
        }
    }
}

//! A block of addresses, such as a node's podCIDR.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

/// An address block in CIDR notation (RFC 4632, RFC 4291), its host bits zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// The block of `prefix` fixed bits that has `address` in it; `None` if an address has fewer bits.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(ip) if prefix <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                IpAddr::from((u32::from(ip) & mask).to_be_bytes())
            }
            IpAddr::V6(ip) if prefix <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                IpAddr::from((u128::from(ip) & mask).to_be_bytes())
            }
            _ => return None,
        };
        Some(Self { address, prefix })
    }

    /// The block of this address alone.
    pub fn host(address: IpAddr) -> Self {
        Self { address, prefix: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// The first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// First and last address as numbers.
    pub fn bounds(&self) -> (u128, u128) {
        let first = match self.address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        let hosts =
            1_u128.checked_shl(u32::from(self.bits() - self.prefix)).map_or(u128::MAX, |size| size - 1);
        (first, first | hosts)
    }

    /// Whether `address` is in the block.
    pub fn contains(&self, address: IpAddr) -> bool {
        Self::new(address, self.prefix).is_some_and(|block| block == *self)
    }

    /// Number of fixed leading bits.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// How many addresses there are, at most 2^32.
    pub fn size(&self) -> u64 {
        1 << (self.bits() - self.prefix).min(32)
    }

    /// The address `index` places after the first.
    pub fn nth(&self, index: u64) -> Option<IpAddr> {
        (index < self.size()).then(|| match self.address {
            IpAddr::V4(first) => {
                // The size of an IPv4 block limits the index to 32 bits.
                IpAddr::from((u32::from(first) | u32::try_from(index).unwrap_or(u32::MAX)).to_be_bytes())
            }
            IpAddr::V6(first) => IpAddr::from((u128::from(first) | u128::from(index)).to_be_bytes()),
        })
    }

    /// The place of `address` in the block.
    pub fn index(&self, address: IpAddr) -> Option<u64> {
        let offset = match (self.address, address) {
            (IpAddr::V4(first), IpAddr::V4(other)) => u64::from(u32::from(other).checked_sub(first.into())?),
            (IpAddr::V6(first), IpAddr::V6(other)) => {
                u64::try_from(u128::from(other).checked_sub(first.into())?).ok()?
            }
            _ => return None,
        };
        (offset < self.size()).then_some(offset)
    }

    fn bits(&self) -> u8 {
        if self.address.is_ipv4() { 32 } else { 128 }
    }
}

/// A text is no address block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a range of addresses; write it as ADDRESS/PREFIX, for example 10.244.0.0/16")]
pub struct InvalidCidr(String);

impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, InvalidCidr> {
        let invalid = || InvalidCidr(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let prefix: u8 = prefix.parse().map_err(|_| invalid())?;
        Self::new(address, prefix).ok_or_else(invalid)
    }
}

impl TryFrom<String> for Cidr {
    type Error = InvalidCidr;

    fn try_from(text: String) -> Result<Self, InvalidCidr> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_counted_from_the_first() {
        let cidr: Cidr = "10.244.1.0/24".parse().unwrap();
        assert_eq!(cidr.size(), 256);
        assert_eq!(cidr.nth(1).unwrap().to_string(), "10.244.1.1");
        assert_eq!(cidr.nth(256), None);
        assert_eq!(cidr.index("10.244.1.7".parse().unwrap()), Some(7));
        assert_eq!(cidr.index("10.244.2.0".parse().unwrap()), None);
        let six: Cidr = "fd00::/64".parse().unwrap();
        assert_eq!(six.nth(258).unwrap().to_string(), "fd00::102");
    }

    #[test]
    fn host_bits_are_dropped_and_nonsense_is_refused() {
        assert_eq!("10.244.1.9/24".parse::<Cidr>().unwrap().to_string(), "10.244.1.0/24");
        assert_eq!("0.0.0.0/0".parse::<Cidr>().unwrap().prefix(), 0);
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "x/8", "fd00::/129"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }
}

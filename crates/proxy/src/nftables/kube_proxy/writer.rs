//! Writing a table of one family.

use std::net::IpAddr;

use nfnetlink::expr::{FibAddress, LookupResult, MetaKey, PayloadBase, RTN_LOCAL, Register};
use nfnetlink::{
    Chain, DataType, Element, ElementData, Expr, KeyType, Rule, Ruleset, Set, SetContent, Table, Transaction,
    Verdict, range_elements,
};
use service::objects::Protocol;
use service::{Cidr, Family};

use crate::nftables::layout::{KEY, change_mark, key_register, load_protocol_and_port, octets};

/// A table that is being written.
pub(super) struct Writer {
    table: Table,
    pub(super) family: Family,
    ruleset: Ruleset,
    anonymous: usize,
}

/// Which address of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

impl Writer {
    pub(super) fn new(table: Table, family: Family) -> Self {
        let mut ruleset = Ruleset::new();
        ruleset.add_table(&table);
        Self { table, family, ruleset, anonymous: 0 }
    }

    pub(super) fn finish(self) -> Ruleset {
        self.ruleset
    }

    pub(super) fn chain(&mut self, chain: &Chain) {
        self.ruleset.add_chain(&self.table, chain);
    }

    pub(super) fn has_chain(&self, chain: &str) -> bool {
        self.ruleset.chain(chain).is_some()
    }

    pub(super) fn set(&mut self, set: &Set) {
        self.ruleset.add_set(&self.table, set);
    }

    /// Adds an element unless it is there.
    pub(super) fn element(&mut self, set: &str, element: Element) {
        if self.ruleset.set(set).is_none_or(|set| set.get(&element.key).is_none()) {
            self.ruleset.add_elements(&self.table, set, &[element]);
        }
    }

    pub(super) fn rule(&mut self, chain: &str, expressions: &[&[Expr]], comment: &'static str) {
        self.ruleset.add_rule(&self.table, &Rule::new(chain, expressions.concat()).comment(comment));
    }

    /// Makes a set for the next rule; returns its name.
    pub(super) fn anonymous(&mut self, key: KeyType, content: SetContent, elements: &[Element]) -> String {
        let name = format!("anonymous-{}", self.anonymous);
        self.anonymous += 1;
        self.ruleset.add_set(&self.table, &Set::anonymous(name.clone(), key, content));
        self.ruleset.add_elements(&self.table, &name, elements);
        name
    }

    /// The field type of addresses.
    pub(super) fn address(&self) -> DataType {
        match self.family {
            Family::V4 => DataType::Ipv4Addr,
            Family::V6 => DataType::Ipv6Addr,
        }
    }

    /// The type of a key or of data made of addresses, protocols and ports.
    pub(super) fn key(&self, fields: &[DataType]) -> KeyType {
        KeyType(fields.to_vec().into())
    }

    fn length(&self) -> u32 {
        self.address().size()
    }

    /// 32-bit registers that an address takes.
    pub(super) fn words(&self) -> u8 {
        (self.length() / 4) as u8
    }

    pub(super) fn load(&self, side: Side, to: Register) -> Expr {
        self.load_part(side, self.length(), to)
    }

    fn load_part(&self, side: Side, length: u32, to: Register) -> Expr {
        let offset = match (self.family, side) {
            (Family::V4, Side::Source) => 12,
            (Family::V4, Side::Destination) => 16,
            (Family::V6, Side::Source) => 8,
            (Family::V6, Side::Destination) => 24,
        };
        Expr::Payload { base: PayloadBase::Network, offset, length, to }
    }

    /// Loads destination, protocol and port.
    pub(super) fn load_front(&self) -> Vec<Expr> {
        let mut expressions = vec![self.load(Side::Destination, KEY)];
        expressions.extend(load_protocol_and_port(key_register(self.words())));
        expressions
    }

    /// The rule goes on only if an address is, or is not, in these ranges.
    pub(super) fn within(&mut self, side: Side, ranges: &[Cidr], wanted: bool) -> Vec<Expr> {
        match ranges {
            [range] => self.within_one(side, *range, wanted),
            ranges => self.in_set(side, ranges, wanted),
        }
    }

    /// The same by a set, even for one range.
    pub(super) fn in_set(&mut self, side: Side, ranges: &[Cidr], wanted: bool) -> Vec<Expr> {
        let length = self.length() as usize;
        let elements = range_elements(ranges.iter().map(Cidr::bounds), length);
        let set = self.anonymous(self.key(&[self.address()]), SetContent::Ranges, &elements);
        let result = if wanted { LookupResult::Contained } else { LookupResult::NotContained };
        vec![self.load(side, KEY), Expr::Lookup { set: set.into(), from: KEY, result }]
    }

    /// One range is compared as `nft` does: by its bytes if it ends with one.
    fn within_one(&self, side: Side, range: Cidr, equal: bool) -> Vec<Expr> {
        let value = octets(range.address());
        let prefix = usize::from(range.prefix());
        if prefix.is_multiple_of(8) && prefix > 0 {
            let value = value[..prefix / 8].to_vec();
            return vec![
                self.load_part(side, value.len() as u32, KEY),
                Expr::Compare { from: KEY, equal, value },
            ];
        }
        let bits = |index: usize| prefix.saturating_sub(8 * index).min(8);
        let mask: Vec<u8> = (0..value.len()).map(|index| (0xff00_u16 >> bits(index)) as u8).collect();
        let xor = vec![0; mask.len()];
        vec![
            self.load(side, KEY),
            Expr::Bitwise { from: KEY, to: KEY, mask, xor },
            Expr::Compare { from: KEY, equal, value },
        ]
    }

    /// An element for an address, protocol and port.
    pub(super) fn front(address: IpAddr, protocol: Protocol, port: u16) -> Vec<u8> {
        [octets(address), Self::node_port(protocol, port)].concat()
    }

    /// The key of a node port; each field fills up to four bytes.
    pub(super) fn node_port(protocol: Protocol, port: u16) -> Vec<u8> {
        let [high, low] = port.to_be_bytes();
        vec![protocol.number(), 0, 0, 0, high, low, 0, 0]
    }
}

/// An element that leads to a verdict.
pub(super) fn to(key: Vec<u8>, verdict: Verdict, comment: &str) -> Element {
    Element::new(key, ElementData::Verdict(verdict), comment)
}

pub(super) fn goto(chain: &str) -> Verdict {
    Verdict::Goto(chain.to_owned())
}

pub(super) fn vmap(set: impl Into<std::borrow::Cow<'static, str>>) -> Expr {
    Expr::Lookup { set: set.into(), from: KEY, result: LookupResult::Verdict }
}

/// The rule goes on only if an address is one of this machine.
pub(super) fn local(address: FibAddress) -> [Expr; 2] {
    [
        Expr::FibType { address, to: KEY },
        Expr::Compare { from: KEY, equal: true, value: RTN_LOCAL.to_ne_bytes().to_vec() },
    ]
}

/// The rule goes on only for packets of this protocol.
pub(super) fn only(protocol: Protocol) -> [Expr; 2] {
    [
        Expr::Meta { key: MetaKey::L4Proto, to: KEY },
        Expr::Compare { from: KEY, equal: true, value: vec![protocol.number()] },
    ]
}

/// Marks the packet for masquerading.
pub(super) fn mark(bit: u32) -> [Expr; 3] {
    change_mark(!bit, bit)
}

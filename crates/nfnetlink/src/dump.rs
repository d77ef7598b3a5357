//! Reading what the kernel holds.

use crate::chain::Chain;
use crate::element::Element;
use crate::error::Error;
use crate::rule::Rule;
use crate::ruleset::Ruleset;
use crate::set::Set;
use crate::socket::Socket;
use crate::table::Table;
use crate::transaction::Transaction;
use crate::uapi::{netlink, nfnetlink, nft};
use crate::wire::{Message, Writer};

impl Socket {
    /// The tables in this network namespace, of the families we know.
    ///
    /// # Errors
    /// As [`Socket::elements`].
    pub fn tables(&mut self) -> Result<Vec<Table>, Error> {
        let request = |writer: &mut Writer| {
            let kind = nfnetlink::SUBSYS_NFTABLES << 8 | nft::MSG_GETTABLE;
            writer.message(kind, netlink::NLM_F_DUMP, 1, 0, 0, |_| {});
        };
        self.dump(request, Table::read)
    }

    /// For each rule of a table the name of its chain, chain by chain in the order of evaluation.
    ///
    /// # Errors
    /// As [`Socket::elements`].
    pub fn rule_chains(&mut self, table: &Table) -> Result<Vec<String>, Error> {
        let chain =
            |message: &Message<'_>| Some(message.attributes().find(nft::RULE_CHAIN)?.string()?.to_owned());
        self.dump_table(table, nft::MSG_GETRULE, nft::RULE_TABLE, chain)
    }

    /// The rules of a table, chain by chain in the order of evaluation.
    ///
    /// # Errors
    /// As [`Socket::elements`].
    pub fn rules(&mut self, table: &Table) -> Result<Vec<Rule>, Error> {
        self.dump_table(table, nft::MSG_GETRULE, nft::RULE_TABLE, Rule::read)
    }

    /// Elements of a set or map.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is no such set, [`Error::DumpDisturbed`] when it never held still.
    pub fn elements(&mut self, table: &Table, set: &str) -> Result<Vec<Element>, Error> {
        let request = |writer: &mut Writer| {
            let kind = nfnetlink::SUBSYS_NFTABLES << 8 | nft::MSG_GETSETELEM;
            writer.message(kind, netlink::NLM_F_DUMP, 1, table.family.number(), 0, |message| {
                message.string(nft::ELEM_LIST_TABLE, &table.name);
                message.string(nft::ELEM_LIST_SET, set);
            });
        };
        let lists = self.dump(request, |message| {
            let list = message.attributes().find(nft::ELEM_LIST_ELEMENTS)?;
            Some(list.nested().filter_map(|element| Element::read(element.nested())).collect::<Vec<_>>())
        })?;
        Ok(lists.into_iter().flatten().collect())
    }

    /// All that a table holds; nothing if there is no such table.
    ///
    /// Chains, sets, elements and rules are read one after the other. When somebody changes the table meanwhile,
    /// so that they do not fit each other, it is read again.
    ///
    /// # Errors
    /// [`Error::UnknownKind`] names a chain or set that a [`Ruleset`] cannot hold; else as
    /// [`Socket::elements`].
    pub fn ruleset(&mut self, table: &Table) -> Result<Ruleset, Error> {
        let mut outcome = Err(Error::DumpDisturbed);
        for _ in 0..READ_TRIES {
            outcome = self.read_ruleset(table);
            if !matches!(outcome, Err(Error::Refused(_))) {
                break;
            }
        }
        outcome
    }

    fn read_ruleset(&mut self, table: &Table) -> Result<Ruleset, Error> {
        let mut ruleset = Ruleset::new();
        let held =
            self.tables()?.into_iter().find(|held| (held.family, &held.name) == (table.family, &table.name));
        let Some(table) = held else { return Ok(ruleset) };
        ruleset.add_table(&table);
        for chain in self.dump_table(&table, nft::MSG_GETCHAIN, nft::CHAIN_TABLE, Chain::read)? {
            let unknown = |name| Error::UnknownKind(format!("chain {} {} {name}", table.family, table.name));
            ruleset.add_chain(&table, &chain.map_err(unknown)?);
        }
        for set in self.dump_table(&table, nft::MSG_GETSET, nft::SET_TABLE, Set::read)? {
            let unknown = |name| Error::UnknownKind(format!("set {} {} {name}", table.family, table.name));
            let set = set.map_err(unknown)?;
            ruleset.add_set(&table, &set);
            ruleset.add_elements(&table, &set.name, &self.elements(&table, &set.name)?);
        }
        for rule in self.rules(&table)? {
            ruleset.add_rule(&table, &rule);
        }
        ruleset.check()?;
        Ok(ruleset)
    }

    /// Dumps objects of one table.
    fn dump_table<T>(
        &mut self,
        table: &Table,
        kind: u16,
        name: u16,
        read: impl Fn(&Message<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let request = |writer: &mut Writer| {
            let kind = nfnetlink::SUBSYS_NFTABLES << 8 | kind;
            writer.message(kind, netlink::NLM_F_DUMP, 1, table.family.number(), 0, |message| {
                message.string(name, &table.name);
            });
        };
        // Dumps of chains answer with those of all tables.
        self.dump(request, |message| {
            let own = message.attributes().find(name)?.string()? == table.name
                && message.family() == table.family.number();
            own.then(|| read(message)).flatten()
        })
    }
}

/// How often a table is read again that changed while it was read.
const READ_TRIES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::Expr;
    use crate::wire::Messages;

    /// Bytes that look random and are the same each time.
    fn noise(seed: u64) -> impl Iterator<Item = u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        std::iter::repeat_with(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
    }

    #[test]
    fn damaged_messages_are_read_and_printed_without_harm() {
        let mut writer = Writer::new();
        let chain = Chain::base("c", crate::ChainType::Nat, crate::Hook::Prerouting, -100);
        let set =
            Set::new("s", crate::KeyType::of(&[crate::DataType::Ipv4Addr]), crate::SetContent::Keys, "x");
        let register = crate::expr::Register(0);
        let rule = Rule::new(
            "c",
            vec![
                Expr::Payload {
                    base: crate::expr::PayloadBase::Network,
                    offset: 12,
                    length: 4,
                    to: register,
                },
                Expr::bitwise(register, register, 0xff, 0),
                Expr::Compare { from: register, equal: true, value: vec![1, 2, 3, 4] },
                Expr::contained("s", register),
                Expr::Verdict(crate::Verdict::Jump("c".into())),
            ],
        );
        writer.message(0xa03, 0, 1, 1, 0, |message| chain.write("t", message));
        writer.message(0xa09, 0, 1, 1, 0, |message| set.write("t", 1, message));
        writer.message(0xa06, 0, 1, 1, 0, |message| rule.write("t", &Default::default(), message));
        for seed in 0..20_000 {
            let mut bytes = writer.bytes().to_vec();
            let mut noise = noise(seed);
            for _ in 0..4 {
                let (high, low) = (noise.next().unwrap_or(0), noise.next().unwrap_or(0));
                let at = usize::from(u16::from_be_bytes([high, low])) % bytes.len();
                bytes[at] = noise.next().unwrap_or(0);
            }
            let mut ruleset = Ruleset::new();
            let table = Table::new(crate::Family::Ip, "t");
            ruleset.add_table(&table);
            for message in Messages::new(&bytes) {
                Chain::read(&message)
                    .into_iter()
                    .flatten()
                    .for_each(|chain| ruleset.add_chain(&table, &chain));
                Set::read(&message).into_iter().flatten().for_each(|set| ruleset.add_set(&table, &set));
                Rule::read(&message).into_iter().for_each(|rule| ruleset.add_rule(&table, &rule));
                let element = Element::key(message.payload.to_vec());
                ruleset.add_elements(&table, "s", &[element]);
            }
            let _ = ruleset.to_string();
            let packet = crate::simulate::Packet {
                source: [10, 0, 0, 1].into(),
                destination: [10, 0, 0, 2].into(),
                protocol: 6,
                source_port: 1,
                port: 2,
                interface: None,
            };
            let _ = crate::simulate::Simulator::new([&ruleset]).walk(&packet, &Default::default());
        }
    }
}

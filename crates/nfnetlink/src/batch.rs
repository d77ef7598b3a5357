//! Transactions: a list of changes that the kernel makes all at once or not at all.

use std::collections::HashMap;
use std::ops::Range;

use crate::Family;
use crate::chain::Chain;
use crate::element::Element;
use crate::rule::Rule;
use crate::set::Set;
use crate::table::Table;
use crate::transaction::{Transaction, named};
use crate::uapi::{netlink, nfnetlink, nft};
use crate::wire::Writer;

/// Bytes of elements put into one message. An attribute's length is 16 bits wide, so a list of elements
/// must end below 64 KiB; any number of messages may follow each other.
const ELEMENTS_PER_MESSAGE: usize = 60_000;

/// A transaction in the making.
///
/// Changes apply in the order they are added; a later one sees what an earlier one made. Each message
/// remembers what it is about, so that a refusal can be traced to its object.
#[derive(Debug)]
pub struct Batch {
    writer: Writer,
    messages: Vec<Note>,
    sets: u32,
    anonymous: HashMap<(Family, String), Anonymous>,
}

/// The anonymous sets of a table that a transaction makes: by the name the caller gave them, what the kernel
/// knows them by until it has named them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Anonymous(HashMap<String, (&'static str, u32)>);

impl Anonymous {
    /// Writes which set is meant: its name, and its number within the transaction if it has no name yet.
    pub(crate) fn write_reference(&self, set: &str, name: u16, id: u16, message: &mut Writer) {
        match self.0.get(set) {
            Some((template, number)) => {
                message.string(name, template);
                message.be32(id, *number);
            }
            None => message.string(name, set),
        }
    }
}

/// What one message of the batch is about.
#[derive(Debug)]
struct Note {
    verb: &'static str,
    object: String,
    offset: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// A transaction that does nothing yet.
    pub fn new() -> Self {
        let mut writer = Writer::new();
        border(&mut writer, nfnetlink::BATCH_BEGIN, 0);
        Self { writer, messages: Vec::new(), sets: 0, anonymous: HashMap::new() }
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Messages in the transaction.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    fn elements(&mut self, table: &Table, set: &str, elements: &[Element], add: bool) {
        let (kind, flags, verb) = match add {
            true => (nft::MSG_NEWSETELEM, netlink::NLM_F_CREATE, "add"),
            false => (nft::MSG_DELSETELEM, 0, "delete"),
        };
        let anonymous = self.take_anonymous(table);
        for chunk in chunks(elements) {
            let object = format!("{} elements of set {} {} {set}", chunk.len(), table.family, table.name);
            self.message(table, kind, flags, verb, object, |message| {
                message.string(nft::ELEM_LIST_TABLE, &table.name);
                anonymous.write_reference(set, nft::ELEM_LIST_SET, nft::ELEM_LIST_SET_ID, message);
                message.nest(nft::ELEM_LIST_ELEMENTS, |list| {
                    elements[chunk].iter().for_each(|element| element.write(add, list));
                });
            });
        }
        self.put_anonymous(table, anonymous);
    }

    /// Lends the anonymous sets of a table while a message is written.
    fn take_anonymous(&mut self, table: &Table) -> Anonymous {
        if self.anonymous.is_empty() {
            return Anonymous::default();
        }
        self.anonymous.remove(&(table.family, table.name.clone())).unwrap_or_default()
    }

    fn put_anonymous(&mut self, table: &Table, anonymous: Anonymous) {
        if !anonymous.0.is_empty() {
            self.anonymous.insert((table.family, table.name.clone()), anonymous);
        }
    }

    fn message(
        &mut self,
        table: &Table,
        kind: u16,
        flags: u16,
        verb: &'static str,
        object: String,
        body: impl FnOnce(&mut Writer),
    ) {
        let offset = self.writer.bytes().len();
        self.messages.push(Note { verb, object, offset });
        let kind = nfnetlink::SUBSYS_NFTABLES << 8 | kind;
        self.writer.message(kind, flags, self.messages.len() as u32, table.family.number(), 0, body);
    }

    /// The messages so far: the same for the same changes.
    pub fn bytes(&self) -> &[u8] {
        self.writer.bytes()
    }

    /// Ends the transaction and asks for an acknowledgement of its last change.
    pub(crate) fn finish(&mut self) {
        if let Some(last) = self.messages.last() {
            self.writer.add_flags(last.offset, netlink::NLM_F_ACK);
        }
        border(&mut self.writer, nfnetlink::BATCH_END, self.messages.len() as u32 + 1);
    }

    /// What the message with this sequence number is about. The kernel blames the begin of the batch
    /// (number 0) for errors of the transaction as a whole.
    pub(crate) fn describe(&self, sequence: u32) -> String {
        match sequence.checked_sub(1).and_then(|index| self.messages.get(index as usize)) {
            Some(note) => format!("{} {}", note.verb, note.object),
            None => format!("commit of {} changes", self.messages.len()),
        }
    }
}

impl Transaction for Batch {
    fn add_table(&mut self, table: &Table) {
        let object = format!("table {} {}", table.family, table.name);
        self.message(table, nft::MSG_NEWTABLE, netlink::NLM_F_CREATE, "add", object, |message| {
            table.write(message);
        });
    }

    fn delete_table(&mut self, table: &Table) {
        let object = format!("table {} {}", table.family, table.name);
        self.message(table, nft::MSG_DELTABLE, 0, "delete", object, |message| {
            message.string(nft::TABLE_NAME, &table.name);
        });
    }

    fn add_chain(&mut self, table: &Table, chain: &Chain) {
        let object = named("chain", table, &chain.name);
        self.message(table, nft::MSG_NEWCHAIN, netlink::NLM_F_CREATE, "add", object, |message| {
            chain.write(&table.name, message);
        });
    }

    fn flush_chain(&mut self, table: &Table, chain: &str) {
        let object = named("chain", table, chain);
        self.message(table, nft::MSG_DELRULE, 0, "flush", object, |message| {
            message.string(nft::RULE_TABLE, &table.name);
            message.string(nft::RULE_CHAIN, chain);
        });
    }

    fn delete_chain(&mut self, table: &Table, chain: &str) {
        let object = named("chain", table, chain);
        self.message(table, nft::MSG_DELCHAIN, 0, "delete", object, |message| {
            message.string(nft::CHAIN_TABLE, &table.name);
            message.string(nft::CHAIN_NAME, chain);
        });
    }

    fn add_rule(&mut self, table: &Table, rule: &Rule) {
        let object = named("rule in chain", table, &rule.chain);
        let flags = netlink::NLM_F_CREATE | netlink::NLM_F_APPEND;
        let anonymous = self.take_anonymous(table);
        self.message(table, nft::MSG_NEWRULE, flags, "add", object, |message| {
            rule.write(&table.name, &anonymous, message);
        });
        self.put_anonymous(table, anonymous);
    }

    fn add_set(&mut self, table: &Table, set: &Set) {
        self.sets += 1;
        let id = self.sets;
        let object = named("set", table, &set.name);
        if set.anonymous {
            let sets = &mut self.anonymous.entry((table.family, table.name.clone())).or_default().0;
            sets.insert(set.name.to_string(), (set.template(), id));
        }
        self.message(table, nft::MSG_NEWSET, netlink::NLM_F_CREATE, "add", object, |message| {
            set.write(&table.name, id, message);
        });
    }

    fn delete_set(&mut self, table: &Table, set: &str) {
        let object = named("set", table, set);
        self.message(table, nft::MSG_DELSET, 0, "delete", object, |message| {
            message.string(nft::SET_TABLE, &table.name);
            message.string(nft::SET_NAME, set);
        });
    }

    fn add_elements(&mut self, table: &Table, set: &str, elements: &[Element]) {
        self.elements(table, set, elements, true);
    }

    fn delete_elements(&mut self, table: &Table, set: &str, elements: &[Element]) {
        self.elements(table, set, elements, false);
    }
}

fn border(writer: &mut Writer, kind: u16, sequence: u32) {
    writer.message(kind, 0, sequence, 0, nfnetlink::SUBSYS_NFTABLES, |_| {});
}

/// Splits elements into runs that fit one message each.
fn chunks(elements: &[Element]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut start = 0;
    std::iter::from_fn(move || {
        let mut room = 0;
        let fits = elements[start..].iter().take_while(|element| {
            room += element.room();
            room <= ELEMENTS_PER_MESSAGE
        });
        let end = start + fits.count();
        let chunk = (end > start).then_some(start..end);
        start = end;
        chunk
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Family, wire::Messages};

    fn table() -> Table {
        Table::new(Family::Inet, "t")
    }

    #[test]
    fn a_batch_is_framed_and_only_its_last_change_is_acknowledged() {
        let mut batch = Batch::new();
        batch.add_table(&table());
        batch.add_chain(&table(), &Chain::regular("two"));
        batch.finish();
        let messages: Vec<_> = Messages::new(batch.bytes()).collect();
        let kinds: Vec<_> = messages.iter().map(|message| (message.kind, message.flags)).collect();
        assert_eq!(kinds, [(0x10, 0x1), (0xa00, 0x401), (0xa03, 0x405), (0x11, 0x1)]);
        assert_eq!(messages[0].payload, [0, 0, 0, 10]);
        // Table name, then chain name: as nft sends them.
        assert_eq!(
            messages[2].payload,
            b"\x01\x00\x00\x00\x06\x00\x01\x00t\x00\x00\x00\x08\x00\x03\x00two\x00"
        );
    }

    #[test]
    fn a_long_list_of_elements_is_split_below_64_kib() {
        let elements: Vec<_> =
            (0..10_000u32).map(|number| Element::key(number.to_be_bytes().to_vec())).collect();
        let mut batch = Batch::new();
        batch.add_elements(&table(), "s", &elements);
        assert!(batch.len() > 1);
        batch.finish();
        let mut count = 0;
        for message in Messages::new(batch.bytes()).filter(|message| message.kind == 0xa0c) {
            let list = message.attributes().find(nft::ELEM_LIST_ELEMENTS).unwrap();
            count += list.nested().count();
        }
        assert_eq!(count, elements.len(), "each element is sent once");
    }

    #[test]
    fn an_error_is_traced_to_its_object() {
        let mut batch = Batch::new();
        batch.add_table(&table());
        batch.delete_chain(&table(), "gone");
        assert_eq!(batch.describe(2), "delete chain inet t gone");
        assert_eq!(batch.describe(0), "commit of 2 changes");
        assert_eq!(batch.describe(99), "commit of 2 changes");
    }
}

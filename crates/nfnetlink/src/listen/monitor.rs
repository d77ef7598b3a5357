//! Changes of a table that others made.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use super::{Heard, Listener};
use crate::error::Error;
use crate::table::Table;
use crate::uapi::{nfnetlink, nft};
use crate::wire::{Message, Messages};

/// A socket that hears of changes to a table which other sockets make: a foreign `nft flush ruleset`, a deleted
/// element.
///
/// It works with `poll` and event loops: when it is readable, call [`Monitor::read`].
#[derive(Debug)]
pub struct Monitor {
    listener: Listener,
    table: Table,
    /// Objects of the transaction whose end was not heard yet.
    objects: Vec<Object>,
}

/// A transaction of somebody else that concerned the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignChange {
    /// What it concerned.
    pub objects: Vec<Object>,
    /// Name of the program, as far as the kernel knows it.
    pub program: String,
    /// Process id of the program; 0 if the kernel does not say.
    pub process: u32,
}

/// What a change concerned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Object {
    /// The table was made or changed.
    Table,
    /// The table is gone.
    TableDeleted,
    /// A chain, by its name, or a rule in it.
    Chain(String),
    /// A set or map, by its name, or an element of it.
    Set(String),
    /// More happened than could be told. Read the table to know what it holds.
    Lost,
}

impl Monitor {
    /// Listens in the network namespace of the calling thread. What the sockets with the port ids `own` do is
    /// not reported (see [`Socket::port`](crate::Socket::port)).
    ///
    /// # Errors
    /// [`Error::Open`] when the kernel does not allow it.
    pub fn open(table: &Table, own: &[u32]) -> Result<Self, Error> {
        let monitor = Self::deaf(table, own)?;
        monitor.listen()?;
        Ok(monitor)
    }

    /// As [`Monitor::open`], but hears of nothing before [`Monitor::listen`]. The kernel writes a message for each
    /// element of a transaction as long as anybody listens, which is most of the time of a large one.
    ///
    /// # Errors
    /// As [`Monitor::open`].
    pub fn deaf(table: &Table, own: &[u32]) -> Result<Self, Error> {
        Ok(Self { listener: Listener::open(own)?, table: table.clone(), objects: Vec::new() })
    }

    /// Listens from now on, in the network namespace in which the monitor was opened.
    ///
    /// # Errors
    /// As [`Monitor::open`].
    pub fn listen(&self) -> Result<(), Error> {
        self.listener.subscribe(nfnetlink::GROUP_NFTABLES)
    }

    /// The changes made since the last call; none if there were none. It does not wait.
    ///
    /// # Errors
    /// [`Error::Receive`] when the socket fails.
    pub fn read(&mut self) -> Result<Vec<ForeignChange>, Error> {
        let mut changes = Vec::new();
        loop {
            match self.listener.next()? {
                Heard::Nothing => return Ok(changes),
                Heard::Lost => {
                    self.objects.clear();
                    changes.push(ForeignChange {
                        objects: vec![Object::Lost],
                        program: String::new(),
                        process: 0,
                    });
                }
                Heard::Datagram(datagram) => {
                    for message in Messages::new(datagram) {
                        match object(&message, &self.table) {
                            Some(object) if !self.objects.contains(&object) => self.objects.push(object),
                            Some(_) => {}
                            None => changes.extend(end(&message, &mut self.objects)),
                        }
                    }
                }
            }
        }
    }
}

impl AsRawFd for Monitor {
    fn as_raw_fd(&self) -> RawFd {
        self.listener.as_fd().as_raw_fd()
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// What a message says of the table, if it is about it.
fn object(message: &Message<'_>, table: &Table) -> Option<Object> {
    let attributes = message.attributes();
    let name = |kind| Some(attributes.find(kind)?.string()?.to_owned());
    let object = match nft_message(message)? {
        nft::MSG_NEWTABLE => Object::Table,
        nft::MSG_DELTABLE => Object::TableDeleted,
        nft::MSG_NEWCHAIN | nft::MSG_DELCHAIN => Object::Chain(name(nft::CHAIN_NAME)?),
        nft::MSG_NEWRULE | nft::MSG_DELRULE => Object::Chain(name(nft::RULE_CHAIN)?),
        nft::MSG_NEWSET | nft::MSG_DELSET => Object::Set(name(nft::SET_NAME)?),
        nft::MSG_NEWSETELEM | nft::MSG_DELSETELEM => Object::Set(name(nft::ELEM_LIST_SET)?),
        _ => return None,
    };
    // The name of the table is the first attribute of all of them.
    let ours = message.family() == table.family.number() && name(nft::TABLE_NAME)? == table.name;
    ours.then_some(object)
}

/// The change, if the message ends a transaction that concerned the table.
fn end(message: &Message<'_>, objects: &mut Vec<Object>) -> Option<ForeignChange> {
    if nft_message(message)? != nft::MSG_NEWGEN || objects.is_empty() {
        return None;
    }
    let attributes = message.attributes();
    let program = attributes.find(nft::GEN_PROC_NAME).and_then(|name| name.string()).unwrap_or_default();
    Some(ForeignChange {
        objects: std::mem::take(objects),
        program: program.to_owned(),
        process: attributes.find(nft::GEN_PROC_PID).and_then(|process| process.be32()).unwrap_or(0),
    })
}

/// The type of an nf_tables message.
fn nft_message(message: &Message<'_>) -> Option<u16> {
    (message.kind >> 8 == nfnetlink::SUBSYS_NFTABLES).then_some(message.kind & 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Family;
    use crate::wire::Writer;

    #[test]
    fn a_transaction_is_told_once_and_only_if_it_concerns_the_table() {
        let table = Table::new(Family::Inet, "t");
        let mut writer = Writer::new();
        let kind = |kind| nfnetlink::SUBSYS_NFTABLES << 8 | kind;
        for (name, family) in [("t", 1), ("t", 2), ("other", 1), ("t", 1)] {
            writer.message(kind(nft::MSG_DELSETELEM), 0, 1, family, 0, |message| {
                message.string(nft::ELEM_LIST_TABLE, name);
                message.string(nft::ELEM_LIST_SET, "s");
            });
        }
        for _ in 0..2 {
            writer.message(kind(nft::MSG_NEWGEN), 0, 1, 0, 0, |message| {
                message.be32(nft::GEN_PROC_PID, 77);
                message.string(nft::GEN_PROC_NAME, "nft");
            });
        }
        let mut objects = Vec::new();
        let mut changes = Vec::new();
        for message in Messages::new(writer.bytes()) {
            objects.extend(object(&message, &table));
            changes.extend(end(&message, &mut objects));
        }
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].objects, [Object::Set("s".into()), Object::Set("s".into())]);
        assert_eq!((changes[0].program.as_str(), changes[0].process), ("nft", 77));
    }
}

//! ipsets: making them, filling them and reading them back (`linux/netfilter/ipset/ip_set.h`).

mod entry;
mod message;

use std::fmt;

use rustix::io::Errno;

use crate::Family;
use crate::error::{Error, Refusal};
use crate::socket::Socket;
use crate::wire::Message;

pub use entry::Entry;

/// What the entries of a set are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SetType {
    /// `hash:ip`.
    HashIp,
    /// `hash:ip,port`.
    HashIpPort,
    /// `hash:ip,port,ip`.
    HashIpPortIp,
    /// `hash:ip,port,net`.
    HashIpPortNet,
    /// `bitmap:port`, for all ports.
    BitmapPort,
}

/// A set without its entries.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpSet {
    /// Its name, at most 31 bytes.
    pub name: String,
    /// What its entries are.
    pub kind: SetType,
    /// [`Family::Ip`] or [`Family::Ip6`]; sets of ports have none, whatever is written here.
    pub family: Family,
}

impl SetType {
    /// All that are known here, with the kernel's names for them.
    const NAMES: [(Self, &'static str); 5] = [
        (Self::HashIp, "hash:ip"),
        (Self::HashIpPort, "hash:ip,port"),
        (Self::HashIpPortIp, "hash:ip,port,ip"),
        (Self::HashIpPortNet, "hash:ip,port,net"),
        (Self::BitmapPort, "bitmap:port"),
    ];

    /// The kernel's name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}

impl Socket {
    /// Makes a set; one of the same name, type and family is kept with its entries.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is another set of that name, or the kernel lacks the type.
    pub fn create_ipset(&mut self, set: &IpSet) -> Result<(), Error> {
        let what = || format!("create ipset {} {}", set.name, set.kind.name());
        let asked = self.query(&message::ask_type(set), message::read_revision);
        let revision = asked.map_err(|refused| refusal(what(), refused))?.unwrap_or_default();
        self.request(&message::create(set, revision)).map_err(|refused| refusal(what(), refused))
    }

    /// Adds entries to a set; those that are there stay.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is no such set, it is full, or an entry does not fit its type. Entries before
    /// that one are in.
    pub fn add_ipset_entries(&mut self, set: &IpSet, entries: &[Entry]) -> Result<(), Error> {
        self.change_entries(message::Verb::Add, set, entries)
    }

    /// Takes entries out of a set; those that are not there are no error.
    ///
    /// # Errors
    /// As [`Socket::add_ipset_entries`].
    pub fn delete_ipset_entries(&mut self, set: &IpSet, entries: &[Entry]) -> Result<(), Error> {
        self.change_entries(message::Verb::Delete, set, entries)
    }

    fn change_entries(&mut self, verb: message::Verb, set: &IpSet, entries: &[Entry]) -> Result<(), Error> {
        for some in entries.chunks(message::ENTRIES_AT_ONCE) {
            let what = || format!("{verb} {} entries, ipset {}, first {}", some.len(), set.name, some[0]);
            self.request(&message::change(verb, set, some)).map_err(|refused| refusal(what(), refused))?;
        }
        Ok(())
    }

    /// The entries of a set; `None` if there is no such set.
    ///
    /// # Errors
    /// [`Error::Refused`] when the kernel has no ipset, [`Error::DumpDisturbed`] when it never held still.
    pub fn ipset_entries(&mut self, set: &IpSet) -> Result<Option<Vec<Entry>>, Error> {
        let read = |message: &Message<'_>| message::read_entries(set.kind, message);
        match self.dump(|writer| message::list(writer, &set.name), read) {
            Ok(lists) => Ok(Some(lists.into_iter().flatten().collect())),
            Err(Error::Refused(refusals)) if refusals.iter().all(|refusal| refusal.errno == Errno::NOENT) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Destroys a set with its entries. One that is not there is no error.
    ///
    /// # Errors
    /// [`Error::Refused`] while a rule of iptables asks about the set.
    pub fn destroy_ipset(&mut self, name: &str) -> Result<(), Error> {
        match self.request(&message::destroy(name)) {
            Err((Errno::NOENT, _)) => Ok(()),
            outcome => outcome.map_err(|refused| refusal(format!("destroy ipset {name}"), refused)),
        }
    }
}

/// Errors that only ipsets have (`enum ipset_errno`), in words.
const WORDS: [(i32, &str); 6] = [
    (4098, "the kernel lacks the type, see CONFIG_IP_SET_HASH_* and CONFIG_IP_SET_BITMAP_PORT"),
    (4099, "there are too many sets"),
    (4100, "rules of iptables still ask about the set"),
    (4103, "the entry is there already, or it is not there"),
    (4106, "the set is of another family"),
    (4352, "the set is full"),
];

fn refusal(message: String, (errno, detail): (Errno, String)) -> Error {
    let words = WORDS.iter().find(|(code, _)| *code == errno.raw_os_error()).map(|(_, words)| *words);
    let detail = words.map_or(detail, str::to_owned);
    Error::Refused(vec![Refusal { message, errno, detail }])
}

impl fmt::Display for IpSet {
    /// As `ipset save` prints it, with the defaults.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "create {} {}", self.name, self.kind.name())?;
        if self.kind == SetType::BitmapPort {
            return write!(f, " range 0-65535");
        }
        let family = if self.family == Family::Ip6 { "inet6" } else { "inet" };
        write!(f, " family {family} hashsize {} maxelem {}", message::HASH_SIZE, message::MAX_ELEMENTS)
    }
}

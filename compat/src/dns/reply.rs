//! What a server answers, and its lines in a recording.

mod text;
mod wire;

pub use wire::decode;

use std::fmt;

use crate::dns::codes;
use crate::dns::question::{Edns, Question};

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A message, or all messages of a zone transfer as one.
    Reply(Reply),
    /// Nothing came.
    Silence,
    /// The server ended the connection.
    Closed,
    /// What came is no message.
    Garbage,
}

/// A message of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// The response code, with the part that EDNS holds.
    pub rcode: u16,
    /// The opcode.
    pub opcode: u8,
    /// AA, TC, RD, RA, AD and CD.
    pub flags: [bool; 6],
    /// The question as the server repeats it, when that is not what was asked; empty when it repeats none.
    pub echo: Option<String>,
    /// All records but OPT.
    pub records: Vec<Record>,
    /// The OPT record.
    pub edns: Option<Edns>,
}

/// The words of the flags.
pub const FLAGS: [&str; 6] = ["aa", "tc", "rd", "ra", "ad", "cd"];
const BITS: [u16; 6] = [0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010];

/// Where in a message a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// Answer.
    Answer,
    /// Authority.
    Authority,
    /// Additional.
    Additional,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// Where it is.
    pub section: Section,
    /// Whose it is.
    pub name: String,
    /// Its type.
    pub kind: u16,
    /// Its class.
    pub class: u16,
    /// Seconds for which it may be kept.
    pub ttl: u32,
    /// What it says, as text; the serial of an SOA is left out.
    pub data: String,
}

impl Reply {
    /// Whether a flag is set.
    pub fn is(&self, flag: &str) -> bool {
        FLAGS.iter().zip(self.flags).any(|(word, is_set)| *word == flag && is_set)
    }

    /// The records of a section.
    pub fn of(&self, section: Section) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| record.section == section)
    }

    /// The leading CNAMEs of the answer: resolvers follow them in the order in which they come.
    pub fn chain(&self) -> Vec<&Record> {
        self.of(Section::Answer).take_while(|record| record.kind == codes::CNAME).collect()
    }
}

impl Outcome {
    /// The reply, if there is one.
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Reply(reply) => Some(reply),
            _ => None,
        }
    }

    /// As lines of a recording; names that were asked for are written as `@`.
    pub fn lines(&self, question: &Question) -> String {
        text::lines(self, question)
    }

    /// Reads lines of a recording.
    ///
    /// # Errors
    /// Shows the line that is none.
    pub fn read(lines: &[&str], question: &Question) -> anyhow::Result<Self> {
        text::read(lines, question)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::record(self, &self.name, f)
    }
}

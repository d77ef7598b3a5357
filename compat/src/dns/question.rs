//! What a server is asked: one message over UDP or TCP, and its line in a recording.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, bail};

use crate::dns::{codes, name};

/// One message and the way it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Over TCP instead of UDP.
    pub tcp: bool,
    /// What is sent.
    pub message: Message,
}

/// The message of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A question that follows the rules, though it may ask for strange things.
    Proper(Proper),
    /// Other bytes, from behind the ID.
    Bytes(Vec<u8>),
}

/// A question that follows the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proper {
    /// Whose records.
    pub name: String,
    /// Of which type.
    pub kind: u16,
    /// Of which class.
    pub class: u16,
    /// What the server shall do; 0 is a query.
    pub opcode: u8,
    /// RD, AD and CD.
    pub flags: [bool; 3],
    /// With EDNS.
    pub edns: Option<Edns>,
}

/// The OPT record of a question (RFC 6891).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edns {
    /// How many bytes the asker takes over UDP.
    pub size: u16,
    /// Its version.
    pub version: u8,
    /// DO: signatures are welcome.
    pub dnssec: bool,
    /// Its options as bytes.
    pub options: Vec<u8>,
}

/// The words of the flags, in the order in which a question has them.
const FLAGS: [&str; 3] = ["rd", "ad", "cd"];
/// Their bits in bytes 2 and 3 of a message.
const BITS: [u16; 3] = [0x0100, 0x0020, 0x0010];

impl Question {
    /// A common question over UDP: recursion is desired, without EDNS.
    pub fn new(name: &str, kind: u16) -> Self {
        let proper = Proper {
            name: name.to_owned(),
            kind,
            class: codes::IN,
            opcode: 0,
            flags: [true, false, false],
            edns: None,
        };
        Self { tcp: false, message: Message::Proper(proper) }
    }

    /// The same with a change.
    pub fn with(mut self, change: impl FnOnce(&mut Proper)) -> Self {
        if let Message::Proper(proper) = &mut self.message {
            change(proper);
        }
        self
    }

    /// The same over TCP.
    pub fn over_tcp(self) -> Self {
        Self { tcp: true, ..self }
    }

    /// Other bytes, from behind the ID.
    pub fn bytes(bytes: &[u8]) -> Self {
        Self { tcp: false, message: Message::Bytes(bytes.to_vec()) }
    }

    /// The question, if it follows the rules.
    pub fn proper(&self) -> Option<&Proper> {
        match &self.message {
            Message::Proper(proper) => Some(proper),
            Message::Bytes(_) => None,
        }
    }

    /// Whether it asks for a zone, which comes in many messages.
    pub fn is_transfer(&self) -> bool {
        self.proper().is_some_and(|proper| [codes::AXFR, codes::IXFR].contains(&proper.kind))
    }

    /// The message with this ID.
    pub fn encode(&self, id: u16) -> Vec<u8> {
        let mut bytes = id.to_be_bytes().to_vec();
        match &self.message {
            Message::Bytes(rest) => bytes.extend(rest),
            Message::Proper(proper) => proper.encode(&mut bytes),
        }
        bytes
    }
}

impl Proper {
    fn encode(&self, bytes: &mut Vec<u8>) {
        let flags = self.flags.iter().zip(BITS).filter(|(is_set, _)| **is_set).map(|(_, bit)| bit);
        let head = flags.fold(u16::from(self.opcode) << 11, |head, bit| head | bit);
        bytes.extend(head.to_be_bytes());
        bytes.extend([0, 1, 0, 0, 0, 0, 0, u8::from(self.edns.is_some())]);
        bytes.extend(name::encode(&self.name));
        bytes.extend(self.kind.to_be_bytes());
        bytes.extend(self.class.to_be_bytes());
        if let Some(edns) = &self.edns {
            bytes.push(0);
            bytes.extend(codes::OPT.to_be_bytes());
            bytes.extend(edns.size.to_be_bytes());
            bytes.extend([0, edns.version, u8::from(edns.dnssec) << 7, 0]);
            bytes.extend((edns.options.len() as u16).to_be_bytes());
            bytes.extend(&edns.options);
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.tcp { "tcp" } else { "udp" })?;
        match &self.message {
            Message::Bytes(bytes) => write!(f, " bytes={}", hexadecimal(bytes)),
            Message::Proper(proper) => {
                for (_, word) in proper.flags.iter().zip(FLAGS).filter(|(is_set, _)| **is_set) {
                    write!(f, " {word}")?;
                }
                if proper.opcode != 0 {
                    write!(f, " opcode={}", proper.opcode)?;
                }
                if let Some(edns) = &proper.edns {
                    write!(f, " edns={}", edns.size)?;
                    if edns.version != 0 {
                        write!(f, " version={}", edns.version)?;
                    }
                    if edns.dnssec {
                        f.write_str(" do")?;
                    }
                    if !edns.options.is_empty() {
                        write!(f, " options={}", hexadecimal(&edns.options))?;
                    }
                }
                let (class, kind) = (codes::class_word(proper.class), codes::type_word(proper.kind));
                write!(f, " {} {class} {kind}", proper.name)
            }
        }
    }
}

impl FromStr for Question {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> anyhow::Result<Self> {
        let strange = || format!("no question: {line}");
        let mut words: Vec<_> = line.split(' ').collect();
        let tcp = match words.remove(0) {
            "tcp" => true,
            "udp" => false,
            _ => bail!(strange()),
        };
        if let Some(bytes) = words.first().and_then(|word| word.strip_prefix("bytes=")) {
            return Ok(Self { tcp, message: Message::Bytes(from_hexadecimal(bytes).with_context(strange)?) });
        }
        let [words @ .., name, class, kind] = words.as_slice() else { bail!(strange()) };
        let mut question = Self::new(name, codes::type_code(kind).with_context(strange)?);
        question.tcp = tcp;
        let Message::Proper(proper) = &mut question.message else { bail!(strange()) };
        proper.class = codes::class_code(class).with_context(strange)?;
        proper.flags = FLAGS.map(|flag| words.contains(&flag));
        let value = |key: &str| words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        if let Some(opcode) = value("opcode") {
            proper.opcode = opcode.parse().with_context(strange)?;
        }
        if let Some(size) = value("edns") {
            proper.edns = Some(Edns {
                size: size.parse().with_context(strange)?,
                version: value("version").map_or(Ok(0), str::parse).with_context(strange)?,
                dnssec: words.contains(&"do"),
                options: from_hexadecimal(value("options").unwrap_or_default()).with_context(strange)?,
            });
        }
        Ok(question)
    }
}

/// Bytes as digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Digits as bytes; `None` when they are none.
pub fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let pairs = (0..text.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_as_it_is_written() {
        let edns = Edns { size: 512, version: 1, dnssec: true, options: vec![0, 10, 0, 1, 7] };
        let strange = Question::new("Web.default.", codes::HTTPS).over_tcp().with(|proper| {
            proper.opcode = 4;
            proper.class = 3;
            proper.flags = [false, true, true];
            proper.edns = Some(edns);
        });
        for question in [Question::new("a.", 999), strange, Question::bytes(&[1, 0, 255])] {
            assert_eq!(question.to_string().parse::<Question>().unwrap(), question, "{question}");
        }
        assert!("udp bytes=1".parse::<Question>().is_err());
        assert!("by mail a. IN A".parse::<Question>().is_err());
    }

    #[test]
    fn a_question_has_the_bytes_of_rfc_1035() {
        let question = Question::new("a.", codes::A);
        assert_eq!(question.encode(0x0102), b"\x01\x02\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01");
    }
}

//! Rules: `nft` prints statements, the kernel keeps instructions on registers. So the instructions are followed
//! with words in place of values.

use super::names::{
    ADDRESS_TYPES, ICMP, ICMPV6, ICMPX, STATES, STATUSES, TRUTH, meta_name, meta_type, network_field,
};
use super::set;
use super::term::{Registers, Shape, Term};
use super::value;
use crate::Family;
use crate::datatype::{DataType, KeyType};
use crate::expr::{CtKey, Expr, FibAddress, LookupResult, MetaKey, PayloadBase, Register, Reject};
use crate::rule::Rule;
use crate::ruleset::Ruleset;
use crate::set::SetContent;

const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
const TCP: u8 = 6;

/// The rule as `nft list` prints it.
pub(super) fn text(ruleset: &Ruleset, family: Family, rule: &Rule) -> String {
    let mut writer = RuleWriter {
        ruleset,
        family,
        network: (family != Family::Inet).then_some(family),
        transport: None,
        registers: Registers::default(),
        statements: Vec::new(),
        network_condition: None,
        transport_condition: None,
        unknown: Vec::new(),
    };
    for expression in &rule.expressions {
        // Behind something unknown the registers may hold anything.
        if !writer.unknown.is_empty() || writer.follow(expression).is_none() {
            writer.unknown.push(expression.name());
        }
    }
    let mut words: Vec<_> = writer.statements.into_iter().flatten().collect();
    if !rule.comment.is_empty() {
        words.push(format!("comment \"{}\"", rule.comment));
    }
    if !writer.unknown.is_empty() {
        words.push(format!("# not known here: {}", writer.unknown.join(", ")));
    }
    words.join(" ")
}

struct RuleWriter<'a> {
    ruleset: &'a Ruleset,
    /// Family of the table.
    family: Family,
    /// Protocols that are certain at this place of the rule.
    network: Option<Family>,
    transport: Option<u8>,
    registers: Registers,
    /// Statements so far; one that a later one implies is taken back.
    statements: Vec<Option<String>>,
    /// Where the statements are that only say the protocol.
    network_condition: Option<usize>,
    transport_condition: Option<usize>,
    unknown: Vec<&'a str>,
}

impl RuleWriter<'_> {
    /// `None` for what has no words.
    fn follow(&mut self, expression: &Expr) -> Option<()> {
        match expression {
            Expr::Meta { key, to } => self.registers.load(*to, meta(*key)),
            Expr::Ct { key, to } => self.registers.load(*to, ct(*key)),
            Expr::FibType { address, to } => {
                let side = match address {
                    FibAddress::Source => "saddr",
                    FibAddress::Destination => "daddr",
                };
                let shape = Shape::Names(&ADDRESS_TYPES);
                self.registers.load(*to, Term { text: format!("fib {side} type"), shape, length: 4 });
            }
            Expr::Payload { base, offset, length, to } => {
                let term = self.payload(*base, *offset, *length)?;
                self.registers.load(*to, term);
            }
            Expr::Immediate { value, to } => {
                let term =
                    Term { text: String::new(), shape: Shape::Constant(value.clone()), length: value.len() };
                self.registers.load(*to, term);
            }
            Expr::Random { to, modulus, offset } => {
                let text = format!("numgen random mod {modulus}{}", offset_text(*offset));
                self.registers.load(*to, Term::field(text, DataType::Integer));
            }
            Expr::Hash { from, length, modulus, offset, seed, to } => {
                let key = self.key(*from, *length as usize, None)?;
                let seed = seed.map(|seed| format!(" seed {seed:#x}")).unwrap_or_default();
                let text = format!("jhash {key} mod {modulus}{seed}{}", offset_text(*offset));
                self.registers.load(*to, Term::field(text, DataType::Integer));
            }
            Expr::Bitwise { from, to, mask, xor } => {
                let of = Box::new(self.registers.get(*from)?.clone());
                let length = mask.len();
                let shape = Shape::Masked { of, mask: mask.clone(), xor: xor.clone() };
                self.registers.load(*to, Term { text: String::new(), shape, length });
            }
            Expr::Compare { from, equal, value } => self.compare(*from, *equal, value)?,
            Expr::SetMeta { key, from } => {
                let (name, kind) = (meta_name(*key), meta_type(*key));
                let value = self.operand(self.registers.get(*from)?, kind)?;
                self.say(format!("meta {name} set {value}"));
            }
            Expr::Lookup { set, from, result } => self.lookup(set, *from, *result)?,
            Expr::Update { set, key, data, timeout } => {
                let held = self.ruleset.set(set)?;
                let mut text = self.key(*key, held.set.key.len() as usize, Some(&held.set.key))?;
                if let Some(timeout) = timeout {
                    text.push_str(&format!(" timeout {}", value::time(*timeout)));
                }
                if let (Some(data), SetContent::Data(kind)) = (data, &held.set.content) {
                    text.push_str(&format!(" : {}", self.key(*data, kind.len() as usize, Some(kind))?));
                }
                self.say(format!("update @{set} {{ {text} }}"));
            }
            Expr::SocketTransparent { to } => {
                let shape = Shape::Names(&TRUTH);
                let term = Term { text: "socket transparent".to_owned(), shape, length: 1 };
                self.registers.load(*to, term);
            }
            Expr::NoTrack => self.say("notrack"),
            Expr::Dnat { family, address, port } => {
                let target = self.translation(*family, *address, *port)?;
                self.say(target);
            }
            Expr::Redirect { port: None } => self.say("redirect"),
            Expr::Redirect { port: Some(port) } => {
                let port = self.operand(self.registers.get(*port)?, DataType::InetService)?;
                self.say(format!("redirect to :{port}"));
            }
            Expr::Masquerade { fully_random: false } => self.say("masquerade"),
            Expr::Masquerade { fully_random: true } => self.say("masquerade fully-random"),
            Expr::Reject(reject) => self.reject(*reject),
            Expr::Counter(counter) => {
                self.say(format!("counter packets {} bytes {}", counter.0.packets, counter.0.bytes));
            }
            Expr::Verdict(verdict) => self.say(verdict.to_string()),
            Expr::Unknown(_) => return None,
        }
        Some(())
    }

    fn say(&mut self, text: impl Into<String>) {
        self.statements.push(Some(text.into()));
    }

    /// A header field, or the start of one. The conditions that it implies need not be said.
    fn payload(&mut self, base: PayloadBase, offset: u32, length: u32) -> Option<Term> {
        let (name, kind) = match base {
            PayloadBase::Network => {
                let family = self.network?;
                let (name, kind) = network_field(family, offset)?;
                take_back(&mut self.statements, &mut self.network_condition);
                (name.to_owned(), kind)
            }
            PayloadBase::Transport => {
                let side = match offset {
                    0 => "sport",
                    2 => "dport",
                    _ => return None,
                };
                take_back(&mut self.statements, &mut self.transport_condition);
                let protocol = self.transport.map_or_else(|| "th".to_owned(), value::protocol);
                (format!("{protocol} {side}"), DataType::InetService)
            }
        };
        (length <= kind.size()).then(|| Term { length: length as usize, ..Term::field(name, kind) })
    }

    /// A key or value of so many bytes. Constants are printed by the types of the set.
    fn key(&self, from: Register, length: usize, kind: Option<&KeyType>) -> Option<String> {
        let terms = self.registers.run(from, length)?;
        let texts = terms.iter().enumerate().map(|(index, term)| {
            let kind = kind.and_then(|kind| kind.0.get(index)).copied();
            self.operand(term, kind.unwrap_or(DataType::Integer))
        });
        Some(texts.collect::<Option<Vec<_>>>()?.join(" . "))
    }

    /// A term where its value is used.
    fn operand(&self, term: &Term, kind: DataType) -> Option<String> {
        match &term.shape {
            Shape::Constant(bytes) if bytes.len() == 1 => Some(bytes[0].to_string()),
            Shape::Constant(bytes) => value::field(kind, bytes),
            Shape::Masked { of, mask, xor } => masked(&self.operand(of, kind)?, kind, mask, xor),
            _ => Some(term.text.clone()),
        }
    }

    fn compare(&mut self, from: Register, equal: bool, bytes: &[u8]) -> Option<()> {
        let term = self.registers.get(from)?.clone();
        let not = if equal { "" } else { "!= " };
        match &term.shape {
            Shape::Field(DataType::InetProto) => {
                let place = self.statements.len();
                self.say(format!("{} {not}{}", term.text, value::protocol(*bytes.first()?)));
                if equal && term.text == "meta l4proto" {
                    self.transport = bytes.first().copied();
                    self.transport_condition = Some(place);
                }
            }
            Shape::Field(DataType::Other { .. }) if term.text == "meta nfproto" => {
                let (name, family) = match *bytes.first()? {
                    NFPROTO_IPV4 => ("ipv4", Family::Ip),
                    NFPROTO_IPV6 => ("ipv6", Family::Ip6),
                    _ => return None,
                };
                let place = self.statements.len();
                self.say(format!("meta nfproto {not}{name}"));
                if equal {
                    self.network = Some(family);
                    self.network_condition = Some(place);
                }
            }
            Shape::Field(kind) => {
                let text = prefix_or_value(*kind, bytes)?;
                self.say(format!("{} {not}{text}", term.text));
            }
            Shape::Names(names) => {
                let number = match *bytes {
                    [byte] => u32::from(byte),
                    _ => u32::from_ne_bytes(bytes.try_into().ok()?),
                };
                let (_, name) = names.iter().find(|(known, _)| *known == number)?;
                self.say(format!("{} {not}{name}", term.text));
            }
            Shape::Bits(names) => {
                let bits = bit_names(names, u32::from_ne_bytes(bytes.try_into().ok()?))?;
                self.say(format!("{} {not}{bits}", term.text));
            }
            Shape::Masked { of, mask, xor } => {
                let text = compare_masked(of, mask, xor, equal, bytes)?;
                self.say(text);
            }
            Shape::Constant(_) | Shape::Found(_) => return None,
        }
        Some(())
    }

    fn lookup(&mut self, name: &str, from: Register, result: LookupResult) -> Option<()> {
        let held = self.ruleset.set(name)?;
        let key = self.key(from, held.set.key.len() as usize, Some(&held.set.key))?;
        let set = match held.set.anonymous {
            true => set::inline(held),
            false => format!("@{name}"),
        };
        match result {
            LookupResult::Contained => self.say(format!("{key} {set}")),
            LookupResult::NotContained => self.say(format!("{key} != {set}")),
            LookupResult::Verdict => self.say(format!("{key} vmap {set}")),
            LookupResult::Value(to) => {
                let SetContent::Data(kind) = &held.set.content else { return None };
                let (shape, length) = (Shape::Found(kind.clone()), kind.len() as usize);
                self.registers.load(to, Term { text: format!("{key} map {set}"), shape, length });
            }
        }
        Some(())
    }

    fn translation(&self, family: Family, address: Register, port: Option<Register>) -> Option<String> {
        let term = self.registers.get(address)?;
        let concatenated = matches!(&term.shape, Shape::Found(kind) if kind.0.len() > 1);
        let which = match self.family == Family::Inet || concatenated {
            true => format!("dnat {family} to"),
            false => "dnat to".to_owned(),
        };
        let kind = match family {
            Family::Ip6 => DataType::Ipv6Addr,
            _ => DataType::Ipv4Addr,
        };
        let target = self.operand(term, kind)?;
        Some(match port {
            Some(port) if !concatenated => {
                let port = self.operand(self.registers.get(port)?, DataType::InetService)?;
                match kind {
                    DataType::Ipv6Addr => format!("{which} [{target}]:{port}"),
                    _ => format!("{which} {target}:{port}"),
                }
            }
            _ => format!("{which} {target}"),
        })
    }

    fn reject(&mut self, reject: Reject) {
        let name = |names: &[(u8, &str)], code: u8| {
            let known = names.iter().find(|(known, _)| *known == code);
            known.map_or_else(|| code.to_string(), |(_, name)| (*name).to_owned())
        };
        let text = match (reject, self.family) {
            (Reject::TcpReset, family) => {
                if family != Family::Inet && self.transport == Some(TCP) {
                    take_back(&mut self.statements, &mut self.transport_condition);
                }
                "reject with tcp reset".to_owned()
            }
            (Reject::PortUnreachable, _) | (Reject::Unreachable(3), Family::Ip) => "reject".to_owned(),
            (Reject::Unreachable(4), Family::Ip6) => "reject".to_owned(),
            (Reject::Unreachable(code), _) => match self.network {
                Some(Family::Ip6) => format!("reject with icmpv6 {}", name(&ICMPV6, code)),
                _ => format!("reject with icmp {}", name(&ICMP, code)),
            },
            (Reject::Either(code), _) => format!("reject with icmpx {}", name(&ICMPX, code)),
        };
        self.say(text);
    }
}

/// Takes back a statement that a later one implies.
fn take_back(statements: &mut [Option<String>], place: &mut Option<usize>) {
    if let Some(statement) = place.take().and_then(|place| statements.get_mut(place)) {
        *statement = None;
    }
}

fn offset_text(offset: u32) -> String {
    if offset == 0 { String::new() } else { format!(" offset {offset}") }
}

fn meta(key: MetaKey) -> Term {
    let name = meta_name(key);
    let text = match key {
        MetaKey::InterfaceName | MetaKey::OutputInterfaceName => name.to_owned(),
        _ => format!("meta {name}"),
    };
    Term::field(text, meta_type(key))
}

fn ct(key: CtKey) -> Term {
    let bits = |text: &str, shape| Term { text: text.to_owned(), shape, length: 4 };
    match key {
        CtKey::State => bits("ct state", Shape::Bits(&STATES)),
        CtKey::Status => bits("ct status", Shape::Bits(&STATUSES)),
        CtKey::OriginalPort => Term::field("ct original proto-dst", DataType::InetService),
        CtKey::OriginalAddress => Term::field("ct original ip daddr", DataType::Ipv4Addr),
        CtKey::OriginalAddress6 => Term::field("ct original ip6 daddr", DataType::Ipv6Addr),
    }
}

/// A value, or the prefix that its first bytes are.
fn prefix_or_value(kind: DataType, bytes: &[u8]) -> Option<String> {
    let size = kind.size() as usize;
    match kind {
        DataType::InterfaceName => Some(value::interface(bytes)),
        DataType::Ipv4Addr | DataType::Ipv6Addr if bytes.len() < size => {
            let mut whole = bytes.to_vec();
            whole.resize(size, 0);
            Some(format!("{}/{}", value::field(kind, &whole)?, 8 * bytes.len()))
        }
        _ => value::field(kind, bytes),
    }
}

fn bit_names(names: &[(u32, &str)], bits: u32) -> Option<String> {
    let found: Vec<_> = names.iter().filter(|(bit, _)| bits & bit != 0).collect();
    let all = found.iter().fold(0, |all, (bit, _)| all | bit) == bits && bits != 0;
    all.then(|| found.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(","))
}

/// `(term & mask) ^ xor` as `nft` writes it: bits that are cleared and then turned are set with `|`.
fn masked(text: &str, kind: DataType, mask: &[u8], xor: &[u8]) -> Option<String> {
    let both = || mask.iter().zip(xor);
    let set: Vec<u8> = both().map(|(mask, xor)| !mask & xor).collect();
    let turned: Vec<u8> = both().map(|(mask, xor)| mask & xor).collect();
    let kept: Vec<u8> = mask.iter().zip(&set).map(|(mask, set)| mask | set).collect();
    let mut text = text.to_owned();
    for (operator, operand, idle) in [('&', kept, 0xff), ('^', turned, 0), ('|', set, 0)] {
        if operand.iter().any(|byte| *byte != idle) {
            text.push_str(&format!(" {operator} {}", value::field(kind, &operand)?));
        }
    }
    Some(text)
}

fn compare_masked(of: &Term, mask: &[u8], xor: &[u8], equal: bool, bytes: &[u8]) -> Option<String> {
    let zero = bytes.iter().all(|byte| *byte == 0);
    match of.shape {
        Shape::Bits(names) if zero => {
            let bits = bit_names(names, u32::from_ne_bytes(mask.try_into().ok()?))?;
            Some(format!("{} {}{bits}", of.text, if equal { "! " } else { "" }))
        }
        Shape::Field(kind @ (DataType::Ipv4Addr | DataType::Ipv6Addr)) => {
            let not = if equal { "" } else { "!= " };
            let value = value::field(kind, bytes)?;
            if let Some(length) = prefix_length(mask).filter(|_| xor.iter().all(|byte| *byte == 0)) {
                return Some(format!("{} {not}{value}/{length}", of.text));
            }
            let operator = if equal { "==" } else { "!=" };
            Some(format!("{} {operator} {value}", masked(&of.text, kind, mask, xor)?))
        }
        Shape::Field(kind) => {
            let operator = if equal { "==" } else { "!=" };
            Some(format!("{} {operator} {}", masked(&of.text, kind, mask, xor)?, value::field(kind, bytes)?))
        }
        _ => None,
    }
}

/// How many leading bits a mask keeps, if it keeps no others.
fn prefix_length(mask: &[u8]) -> Option<u32> {
    let ones: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    let leading: u32 = match mask.iter().position(|byte| *byte != 0xff) {
        None => 8 * mask.len() as u32,
        Some(at) => 8 * at as u32 + mask[at].leading_ones(),
    };
    (ones == leading).then_some(ones)
}

//! Sets, maps and verdict maps, and their elements.

use std::borrow::Cow;
use std::time::Duration;

use crate::batch::Anonymous;
use crate::datatype::KeyType;
use crate::expr::Expr;
use crate::live::{Counter, Live};
use crate::uapi::nft;
use crate::userdata;
use crate::verdict::Verdict;
use crate::wire::{Attributes, Message, Writer};

/// A set or map.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Set {
    /// Name, at most 255 bytes.
    pub name: Cow<'static, str>,
    /// Type of its keys.
    pub key: KeyType,
    /// What a key leads to.
    pub content: SetContent,
    /// Shown by `nft list`; empty for none.
    pub comment: Cow<'static, str>,
    /// Whether it belongs to the one rule that names it, and comes and goes with it. Its elements must be
    /// added in the transaction that makes it. The kernel gives it a name of its own.
    pub anonymous: bool,
    /// Whether rules may add elements ([`Expr::Update`]).
    pub dynamic: bool,
    /// Whether elements may expire, and after how long those do that do not say themselves; zero: never.
    pub timeout: Option<Duration>,
    /// Whether each element counts the packets that met it.
    pub counter: bool,
    /// How many elements it may hold. `None`: any number, or 65535 if it is dynamic.
    pub size: Option<u32>,
}

/// What a key of a set leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SetContent {
    /// Nothing: a plain set.
    Keys,
    /// Nothing: a set of ranges, whose elements come in pairs of start and first key behind the end.
    Ranges,
    /// A value: a map.
    Data(KeyType),
    /// A verdict: a verdict map.
    Verdict,
}

impl Set {
    /// A named set without limits.
    pub const fn new(name: &'static str, key: KeyType, content: SetContent, comment: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            key,
            content,
            comment: Cow::Borrowed(comment),
            anonymous: false,
            dynamic: false,
            timeout: None,
            counter: false,
            size: None,
        }
    }

    /// A set that belongs to one rule. Its name only has to differ from others in the table; the kernel
    /// names such sets `__set0`, `__set1` and such maps `__map0`, `__map1`.
    pub fn anonymous(name: impl Into<Cow<'static, str>>, key: KeyType, content: SetContent) -> Self {
        Self { name: name.into(), anonymous: true, ..Self::new("", key, content, "") }
    }

    /// The same set, with a counter for each element.
    #[must_use]
    pub const fn counted(mut self) -> Self {
        self.counter = true;
        self
    }

    /// The same set, to which rules may add up to `size` elements that go after `timeout`; zero: after the
    /// time that each element or rule says.
    #[must_use]
    pub const fn dynamic(mut self, timeout: Duration, size: u32) -> Self {
        self.dynamic = true;
        self.timeout = Some(timeout);
        self.size = Some(size);
        self
    }

    /// Whether keys lead to something.
    pub fn is_map(&self) -> bool {
        matches!(self.content, SetContent::Data(_) | SetContent::Verdict)
    }

    /// The name that asks the kernel for one of its own.
    pub(crate) fn template(&self) -> &'static str {
        if self.is_map() { "__map%d" } else { "__set%d" }
    }

    fn flags(&self) -> u32 {
        [
            (self.anonymous, nft::SET_F_ANONYMOUS | nft::SET_F_CONSTANT),
            (self.content == SetContent::Ranges, nft::SET_F_INTERVAL),
            (self.is_map(), nft::SET_F_MAP),
            (self.timeout.is_some(), nft::SET_F_TIMEOUT),
            (self.dynamic, nft::SET_F_EVAL),
        ]
        .into_iter()
        .fold(0, |flags, (on, flag)| if on { flags | flag } else { flags })
    }

    pub(crate) fn write(&self, table: &str, id: u32, message: &mut Writer) {
        message.string(nft::SET_TABLE, table);
        message.string(nft::SET_NAME, if self.anonymous { self.template() } else { &self.name });
        message.be32(nft::SET_FLAGS, self.flags());
        message.be32(nft::SET_KEY_TYPE, self.key.number());
        message.be32(nft::SET_KEY_LEN, self.key.len());
        let data_order = match &self.content {
            SetContent::Keys | SetContent::Ranges => None,
            SetContent::Data(data) => {
                message.be32(nft::SET_DATA_TYPE, data.number());
                message.be32(nft::SET_DATA_LEN, data.len());
                Some(data.byte_order())
            }
            SetContent::Verdict => {
                message.be32(nft::SET_DATA_TYPE, nft::TYPE_VERDICT);
                message.be32(nft::SET_DATA_LEN, 0);
                Some(0)
            }
        };
        if let Some(size) = self.size {
            message.nest(nft::SET_DESC, |description| description.be32(nft::SET_DESC_SIZE, size));
        }
        message.be32(nft::SET_ID, id);
        if let Some(timeout) = self.timeout.filter(|timeout| !timeout.is_zero()) {
            message.milliseconds(nft::SET_TIMEOUT, timeout);
        }
        message.raw(nft::SET_USERDATA, &userdata::set(self.key.byte_order(), data_order, &self.comment));
        if self.counter {
            let counter = Expr::Counter(Live::default());
            message.nest(nft::SET_EXPR, |inside| counter.write_inside(&Anonymous::default(), inside));
        }
    }

    /// `Err` with the name of a set whose kind is not one of ours, `None` if the message is no set.
    pub(crate) fn read(message: &Message<'_>) -> Option<Result<Self, String>> {
        let attributes = message.attributes();
        let number = |kind| attributes.find(kind).and_then(|number| number.be32());
        let name = attributes.find(nft::SET_NAME)?.string()?.to_owned();
        let flags = number(nft::SET_FLAGS).unwrap_or(0);
        let userdata = attributes.find(nft::SET_USERDATA).map_or(&[][..], |userdata| userdata.value);
        let on = |flag| flags & flag != 0;
        let content = match (on(nft::SET_F_MAP), on(nft::SET_F_INTERVAL), number(nft::SET_DATA_TYPE)) {
            (false, false, _) => SetContent::Keys,
            (false, true, _) => SetContent::Ranges,
            (true, false, Some(nft::TYPE_VERDICT)) => SetContent::Verdict,
            (true, false, Some(data)) => {
                SetContent::Data(KeyType::from_number(data, number(nft::SET_DATA_LEN)?))
            }
            _ => return Some(Err(name)),
        };
        let timeout = attributes.find(nft::SET_TIMEOUT).and_then(|timeout| timeout.milliseconds());
        let description = attributes.find(nft::SET_DESC).map(|description| description.nested());
        let size = description.and_then(|description| description.find(nft::SET_DESC_SIZE)?.be32());
        let expression = attributes.find(nft::SET_EXPR).map(|expression| Expr::read(expression.nested()));
        Some(Ok(Self {
            key: KeyType::from_number(number(nft::SET_KEY_TYPE)?, number(nft::SET_KEY_LEN)?),
            content,
            comment: userdata::read_set_comment(userdata).into(),
            anonymous: on(nft::SET_F_ANONYMOUS),
            dynamic: on(nft::SET_F_EVAL),
            timeout: on(nft::SET_F_TIMEOUT).then(|| timeout.unwrap_or_default()),
            counter: matches!(expression, Some(Expr::Counter(_))),
            size: size.filter(|size| *size != 0),
            name: name.into(),
        }))
    }
}

/// One element of a set or map.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Element {
    /// The key; the fields of a concatenation fill up to four bytes each.
    pub key: Vec<u8>,
    /// What the key leads to.
    pub data: ElementData,
    /// Shown by `nft list`; empty for none.
    pub comment: String,
    /// After how long it goes, if not after the time of the set.
    pub timeout: Option<Duration>,
    /// In how long it goes, if it was read from the kernel and expires.
    pub expires: Live<Option<Duration>>,
    /// What it counted, if it was read from the kernel and counts.
    pub counter: Live<Option<Counter>>,
}

/// What an element's key leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ElementData {
    /// Nothing (plain sets and starts of ranges).
    None,
    /// Nothing: this is the first key behind a range.
    RangeEnd,
    /// A value.
    Value(Vec<u8>),
    /// A verdict.
    Verdict(Verdict),
}

impl Element {
    /// An element of a plain set.
    pub fn key(key: Vec<u8>) -> Self {
        Self::new(key, ElementData::None, "")
    }

    /// An element that leads to something.
    pub fn new(key: Vec<u8>, data: ElementData, comment: impl Into<String>) -> Self {
        Self {
            key,
            data,
            comment: comment.into(),
            timeout: None,
            expires: Live::default(),
            counter: Live::default(),
        }
    }

    /// An upper bound of the bytes this element takes in a message.
    pub(crate) fn room(&self) -> usize {
        let data = match &self.data {
            ElementData::None | ElementData::RangeEnd => 0,
            ElementData::Value(value) => value.len(),
            ElementData::Verdict(verdict) => 16 + verdict.chain().map_or(0, str::len),
        };
        64 + self.key.len() + data + self.comment.len()
    }

    /// Writes the element; its data is left out when it only names the element to delete.
    pub(crate) fn write(&self, with_data: bool, list: &mut Writer) {
        list.nest(nft::LIST_ELEM, |element| {
            if self.data == ElementData::RangeEnd {
                element.be32(nft::ELEM_FLAGS, nft::ELEM_F_INTERVAL_END);
            }
            element.nest(nft::ELEM_KEY, |key| key.raw(nft::DATA_VALUE, &self.key));
            if !with_data {
                return;
            }
            match &self.data {
                ElementData::None | ElementData::RangeEnd => {}
                ElementData::Value(value) => {
                    element.nest(nft::ELEM_DATA, |data| data.raw(nft::DATA_VALUE, value));
                }
                ElementData::Verdict(verdict) => verdict.write(nft::ELEM_DATA, element),
            }
            if let Some(timeout) = self.timeout {
                element.milliseconds(nft::ELEM_TIMEOUT, timeout);
            }
            if let Some(comment) = userdata::comment(&self.comment) {
                element.raw(nft::ELEM_USERDATA, &comment);
            }
        });
    }

    /// Reads the inside of `NFTA_LIST_ELEM`.
    pub(crate) fn read(element: Attributes<'_>) -> Option<Self> {
        let key = element.find(nft::ELEM_KEY)?.nested().find(nft::DATA_VALUE)?.value.to_vec();
        let flags = element.find(nft::ELEM_FLAGS).and_then(|flags| flags.be32()).unwrap_or(0);
        let data = match element.find(nft::ELEM_DATA).and_then(|data| data.nested().next()) {
            None if flags & nft::ELEM_F_INTERVAL_END != 0 => ElementData::RangeEnd,
            None => ElementData::None,
            Some(data) if data.kind == nft::DATA_VERDICT => ElementData::Verdict(Verdict::read(&data)?),
            Some(data) => ElementData::Value(data.value.to_vec()),
        };
        let comment = element
            .find(nft::ELEM_USERDATA)
            .map(|userdata| userdata::read_comment(userdata.value))
            .unwrap_or_default();
        let time = |kind| element.find(kind).and_then(|time| time.milliseconds());
        Some(Self {
            key,
            data,
            comment,
            timeout: time(nft::ELEM_TIMEOUT),
            expires: Live(time(nft::ELEM_EXPIRATION)),
            counter: Live(counter(element)),
        })
    }
}

/// The counter among the expressions of an element.
fn counter(element: Attributes<'_>) -> Option<Counter> {
    let single = element.find(nft::ELEM_EXPR).map(|expression| expression.nested());
    let list = || Some(element.find(nft::ELEM_EXPRESSIONS)?.nested().next()?.nested());
    match Expr::read(single.or_else(list)?) {
        Expr::Counter(counter) => Some(counter.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Messages;

    #[test]
    fn an_element_is_what_nft_sends() {
        // nft 1.0.6: add element inet t vips { 10.0.0.1 . tcp . 80 comment "svc" : goto two }
        let captured = [
            0x3c, 0, 0x01, 0x80, 0x14, 0, 0x01, 0x80, 0x10, 0, 0x01, 0, 10, 0, 0, 1, 6, 0, 0, 0, 0, 80, 0,
            0, //
            0x18, 0, 0x02, 0x80, 0x14, 0, 0x02, 0x80, 8, 0, 1, 0, 0xff, 0xff, 0xff, 0xfc, //
            8, 0, 2, 0, b't', b'w', b'o', 0, 10, 0, 6, 0, 0, 4, b's', b'v', b'c', 0, 0, 0,
        ];
        let key = vec![10, 0, 0, 1, 6, 0, 0, 0, 0, 80, 0, 0];
        let element = Element::new(key, ElementData::Verdict(Verdict::Goto("two".into())), "svc");
        let mut writer = Writer::new();
        element.write(true, &mut writer);
        assert_eq!(writer.bytes(), captured);
    }

    #[test]
    fn elements_survive_the_wire() {
        let elements = [
            Element::key(vec![10, 0, 0, 1]),
            Element::new(vec![1, 2, 3, 4], ElementData::RangeEnd, ""),
            Element::new(vec![1; 8], ElementData::Value(vec![2; 8]), "ns/svc:http"),
            Element {
                timeout: Some(Duration::from_millis(1500)),
                ..Element::new(vec![3; 12], ElementData::Verdict(Verdict::Goto("service-3".into())), "")
            },
        ];
        let mut writer = Writer::new();
        writer.message(0x0a0c, 0, 1, 1, 0, |message| {
            message.nest(nft::ELEM_LIST_ELEMENTS, |list| {
                elements.iter().for_each(|element| element.write(true, list));
            });
        });
        let message = Messages::new(writer.bytes()).next().unwrap();
        let list = message.attributes().find(nft::ELEM_LIST_ELEMENTS).unwrap();
        let read: Vec<_> = list.nested().filter_map(|element| Element::read(element.nested())).collect();
        assert_eq!(read, elements);
    }

    #[test]
    fn sets_survive_the_wire() {
        use crate::DataType::{InetService, Ipv4Addr, Mark};
        let minute = Duration::from_secs(60);
        let samples = [
            Set::new("s", KeyType::of(&[Ipv4Addr]), SetContent::Ranges, "pods"),
            Set::new("v", KeyType::of(&[Ipv4Addr, InetService]), SetContent::Verdict, "").counted(),
            Set::new("m", KeyType::of(&[Ipv4Addr]), SetContent::Data(KeyType::of(&[Mark])), "")
                .dynamic(minute, 1000),
            Set::new("n", KeyType::of(&[Ipv4Addr]), SetContent::Keys, "").dynamic(Duration::ZERO, 10),
        ];
        for sample in samples {
            let mut writer = Writer::new();
            writer.message(0x0a09, 0, 1, 1, 0, |message| sample.write("t", 1, message));
            let message = Messages::new(writer.bytes()).next().unwrap();
            assert_eq!(Set::read(&message), Some(Ok(sample)));
        }
    }
}

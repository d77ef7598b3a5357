//! Sets, maps and verdict maps.

use std::borrow::Cow;
use std::time::Duration;

use crate::batch::Anonymous;
use crate::datatype::KeyType;
use crate::expr::Expr;
use crate::live::Live;
use crate::uapi::nft;
use crate::userdata;
use crate::wire::{Message, Writer};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Messages;

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

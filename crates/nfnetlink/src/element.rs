//! Elements of sets and maps.

use std::time::Duration;

use crate::expr::Expr;
use crate::live::{Counter, Live};
use crate::uapi::nft;
use crate::userdata;
use crate::verdict::Verdict;
use crate::wire::{Attributes, Writer};

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
}

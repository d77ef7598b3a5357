//! Sets, maps and verdict maps, and their elements.

use crate::datatype::KeyType;
use crate::uapi::nft;
use crate::userdata;
use crate::verdict::Verdict;
use crate::wire::{Attributes, Writer};

/// A named set or map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Set {
    /// Name, at most 255 bytes.
    pub name: &'static str,
    /// Type of its keys.
    pub key: KeyType,
    /// What a key leads to.
    pub content: SetContent,
    /// Shown by `nft list`; empty for none.
    pub comment: &'static str,
}

/// What a key of a set leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    pub(crate) fn write(&self, table: &str, id: u32, message: &mut Writer) {
        let (flags, data_order) = match self.content {
            SetContent::Keys => (0, None),
            SetContent::Ranges => (nft::SET_F_INTERVAL, None),
            SetContent::Data(data) => (nft::SET_F_MAP, Some(data.byte_order())),
            SetContent::Verdict => (nft::SET_F_MAP, Some(0)),
        };
        message.string(nft::SET_TABLE, table);
        message.string(nft::SET_NAME, self.name);
        message.be32(nft::SET_FLAGS, flags);
        message.be32(nft::SET_KEY_TYPE, self.key.number());
        message.be32(nft::SET_KEY_LEN, self.key.len());
        match self.content {
            SetContent::Keys | SetContent::Ranges => {}
            SetContent::Data(data) => {
                message.be32(nft::SET_DATA_TYPE, data.number());
                message.be32(nft::SET_DATA_LEN, data.len());
            }
            SetContent::Verdict => {
                message.be32(nft::SET_DATA_TYPE, nft::TYPE_VERDICT);
                message.be32(nft::SET_DATA_LEN, 0);
            }
        }
        message.be32(nft::SET_ID, id);
        message.raw(nft::SET_USERDATA, &userdata::set(self.key.byte_order(), data_order, self.comment));
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
        Self { key, data: ElementData::None, comment: String::new() }
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
        Some(Self { key, data, comment })
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
        let element = Element {
            key: vec![10, 0, 0, 1, 6, 0, 0, 0, 0, 80, 0, 0],
            data: ElementData::Verdict(Verdict::Goto("two".into())),
            comment: "svc".into(),
        };
        let mut writer = Writer::new();
        element.write(true, &mut writer);
        assert_eq!(writer.bytes(), captured);
    }

    #[test]
    fn elements_survive_the_wire() {
        let elements = [
            Element::key(vec![10, 0, 0, 1]),
            Element { key: vec![1, 2, 3, 4], data: ElementData::RangeEnd, comment: String::new() },
            Element { key: vec![1; 8], data: ElementData::Value(vec![2; 8]), comment: "ns/svc:http".into() },
            Element {
                key: vec![3; 12],
                data: ElementData::Verdict(Verdict::Goto("service-3".into())),
                comment: String::new(),
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

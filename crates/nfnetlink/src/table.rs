//! Tables.

use crate::Family;
use crate::uapi::nft;
use crate::userdata;
use crate::wire::{Message, Writer};

/// A table, the name space of chains and sets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Table {
    /// Which packets its base chains see.
    pub family: Family,
    /// Name, at most 255 bytes.
    pub name: String,
    /// Shown by `nft list`; empty for none.
    pub comment: String,
}

impl Table {
    /// A table without a comment.
    pub fn new(family: Family, name: impl Into<String>) -> Self {
        Self { family, name: name.into(), comment: String::new() }
    }

    pub(crate) fn write(&self, message: &mut Writer) {
        message.string(nft::TABLE_NAME, &self.name);
        message.be32(nft::TABLE_FLAGS, 0);
        if let Some(comment) = userdata::comment(&self.comment) {
            message.raw(nft::TABLE_USERDATA, &comment);
        }
    }

    pub(crate) fn read(message: &Message<'_>) -> Option<Self> {
        let attributes = message.attributes();
        let name = attributes.find(nft::TABLE_NAME)?.string()?.to_owned();
        let userdata = attributes.find(nft::TABLE_USERDATA);
        let comment = userdata.map(|userdata| userdata::read_comment(userdata.value)).unwrap_or_default();
        Some(Self { family: Family::from_number(message.family())?, name, comment })
    }
}

//! Tables.

use crate::Family;
use crate::uapi::nft;
use crate::userdata;
use crate::wire::Writer;

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
}

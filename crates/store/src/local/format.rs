//! How the log lies in its file: tables, records with checksums, and the state that they must add up to.
//!
//! A record's checksum finds a record that has changed; [`State`] finds records that are missing. Both are
//! verified whenever the file is opened, so that what is served is what was written.

use std::sync::Arc;

use bytes::Bytes;
use redb::{ReadableTable, TableDefinition, WriteTransaction};

use crate::{Record, Revision};

/// The layout that this program writes.
pub(super) const FORMAT_VERSION: u64 = 2;

/// Revision to encoded [`Entry`].
pub(super) const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records.2");
/// One row, [`LOG`], with the encoded [`State`].
pub(super) const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");
/// The only key of [`STATE`].
pub(super) const LOG: &str = "log";
/// One row, [`FORMAT`]; every format of this file has it.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// In [`META`]: the layout of this file.
pub(super) const FORMAT: &str = "format";

/// One change as the log holds it.
pub(super) struct Entry {
    /// The key's new record.
    pub(super) record: Record,
    /// Whether the key went.
    pub(super) deleted: bool,
}

impl Entry {
    /// `checksum:u32 flags:u8 key_length:u32 key value`; integers are little-endian. The checksum is the
    /// CRC-32 of the revision and of all that follows.
    pub(super) fn encode(&self) -> Vec<u8> {
        let (key, value) = (self.record.key.as_bytes(), &self.record.value);
        let mut bytes = Vec::with_capacity(9 + key.len() + value.len());
        bytes.extend_from_slice(&[0; 4]);
        bytes.push(u8::from(self.deleted));
        bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        let sum = checksum(self.record.revision, &bytes[4..]);
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads a record; none if it is not as it was written.
    pub(super) fn decode(revision: Revision, bytes: &[u8]) -> Option<Self> {
        let (sum, rest) = bytes.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*sum) != checksum(revision, rest) {
            return None;
        }
        Self::decode_content(revision, rest)
    }

    /// Reads what follows the checksum: all there was in format 1.
    fn decode_content(revision: Revision, bytes: &[u8]) -> Option<Self> {
        let (&flags, rest) = bytes.split_first()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (key, value) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let key: Arc<str> = std::str::from_utf8(key).ok()?.into();
        let deleted = match flags {
            0 => false,
            1 => true,
            _ => return None,
        };
        Some(Self { record: Record { key, revision, value: Bytes::copy_from_slice(value) }, deleted })
    }
}

fn checksum(revision: Revision, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&revision.to_le_bytes());
    hasher.update(content);
    hasher.finalize()
}

/// What the records of a log add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The history up to this revision has been compacted.
    pub(super) compacted: Revision,
    /// The newest revision.
    pub(super) head: Revision,
    /// How many records there are.
    pub(super) count: u64,
    /// The sum of their checksums, modulo 2^64.
    pub(super) sum: u64,
}

impl State {
    /// Takes in a record.
    pub(super) fn add(&mut self, revision: Revision, encoded: &[u8]) {
        self.head = self.head.max(revision);
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(sum_of(encoded));
    }

    /// Takes out a record.
    pub(super) fn remove(&mut self, encoded: &[u8]) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(sum_of(encoded));
    }

    /// Four little-endian integers and their CRC-32.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = [self.compacted, self.head, self.count, self.sum]
            .into_iter()
            .flat_map(u64::to_le_bytes)
            .collect();
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// Reads a state; none if it is not as it was written.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (numbers, sum) = bytes.split_last_chunk::<4>()?;
        if u32::from_le_bytes(*sum) != crc32fast::hash(numbers) {
            return None;
        }
        let (numbers, []) = numbers.as_chunks::<8>() else { return None };
        let &[compacted, head, count, sum] = numbers else { return None };
        let [compacted, head, count, sum] = [compacted, head, count, sum].map(u64::from_le_bytes);
        Some(Self { compacted, head, count, sum })
    }
}

/// The checksum at the head of an encoded record.
fn sum_of(encoded: &[u8]) -> u64 {
    encoded.first_chunk::<4>().map_or(0, |sum| u32::from_le_bytes(*sum).into())
}

/// Brings a log of format 1, whose records had no checksums, to the format of today.
///
/// # Errors
/// The file cannot be read or written; a record of it cannot be decoded.
pub(super) fn upgrade_from_1(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    const RECORDS_1: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
    const COMPACTED: &str = "compacted";

    let mut meta = transaction.open_table(META)?;
    let mut state =
        State { compacted: meta.remove(COMPACTED)?.map_or(0, |row| row.value()), ..State::default() };
    state.head = state.compacted;
    {
        let old = transaction.open_table(RECORDS_1)?;
        let mut new = transaction.open_table(RECORDS)?;
        for row in old.iter()? {
            let (revision, bytes) = row?;
            let revision = revision.value();
            let entry = Entry::decode_content(revision, bytes.value())
                .ok_or_else(|| redb::Error::Corrupted(format!("record {revision} cannot be read")))?;
            let encoded = entry.encode();
            state.add(revision, &encoded);
            new.insert(revision, encoded.as_slice())?;
        }
    }
    transaction.delete_table(RECORDS_1)?;
    transaction.open_table(STATE)?.insert(LOG, state.encode().as_slice())?;
    meta.insert(FORMAT, FORMAT_VERSION)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let record = Record { key: "/a/ü".into(), revision: 9, value: "{}".into() };
        Entry { record, deleted: true }
    }

    #[test]
    fn an_entry_survives_its_encoding() {
        let read = Entry::decode(9, &entry().encode()).unwrap();
        assert_eq!((read.record, read.deleted), (entry().record, true));
    }

    #[test]
    fn a_record_with_any_bit_flipped_cut_or_under_another_revision_is_refused() {
        let bytes = entry().encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Entry::decode(9, &flipped).is_none(), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(Entry::decode(9, &bytes[..cut]).is_none(), "cut at {cut}");
        }
        assert!(Entry::decode(8, &bytes).is_none());
    }

    #[test]
    fn a_state_with_any_bit_flipped_is_refused() {
        let state = State { compacted: 1, head: 9, count: 3, sum: u64::MAX };
        let bytes = state.encode();
        assert_eq!(State::decode(&bytes), Some(state));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(State::decode(&flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn a_state_is_what_was_added_without_what_was_removed() {
        let (first, second) = (entry().encode(), Entry { deleted: false, ..entry() }.encode());
        let mut state = State::default();
        state.add(1, &first);
        state.add(2, &second);
        state.remove(&first);
        let mut only_second = State::default();
        only_second.add(2, &second);
        assert_eq!(state, only_second);
    }
}

//! Domain names.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::ops::Range;

use super::{HEADER, LONGEST_NAME, Malformed};

/// The longest label, in bytes (RFC 1035, 2.3.4).
const LONGEST_LABEL: usize = 63;
/// The memory of a name in bytes, a multiple of eight so that [`Name::lower`] takes eight bytes at a time.
const ROOM: usize = LONGEST_NAME.next_multiple_of(8);
/// The most compression pointers in a name: as many as a name can have labels. Without this bound a reply could keep a
/// processor busy with names that each follow thousands of pointers.
const MOST_POINTERS: usize = LONGEST_NAME / 2;
/// The two bits that make a length byte a compression pointer (RFC 1035, 4.1.4).
const POINTER: u8 = 0xC0;

/// A domain name in wire form and lower case, with the offsets of its labels.
///
/// Names are compared without regard to case (RFC 4343), so they are kept in lower case. Replies keep the case of the
/// client, because they copy its question and point to it.
#[derive(Clone)]
pub(crate) struct Name {
    bytes: [u8; ROOM],
    length: u8,
    starts: [u8; LONGEST_NAME / 2 + 1],
    labels: u8,
}

impl Name {
    /// Reads the name at the offset `at`, which may be compressed. Returns the offset behind it too.
    ///
    /// A pointer must lead to an offset before all that were read, so that reading ends, and not into the header.
    pub(crate) fn read(packet: &[u8], at: usize) -> Result<(Self, usize), Malformed> {
        let mut name = Self::root();
        let end = name.fill(packet, at)?;
        Ok((name, end))
    }

    /// Reads a name into an empty one.
    #[inline]
    pub(super) fn fill(&mut self, packet: &[u8], at: usize) -> Result<usize, Malformed> {
        let (mut at, mut earliest, mut end) = (at, at, None);
        for _ in 0..=MOST_POINTERS {
            at = self.fill_labels(packet, at)?;
            let last = packet[at];
            if last == 0 {
                self.lower();
                return Ok(end.unwrap_or(at + 1));
            }
            let target = target(packet, at)?;
            if last & POINTER != POINTER || target >= earliest || target < HEADER {
                return Err(Malformed);
            }
            end.get_or_insert(at + 2);
            (at, earliest) = (target, target);
        }
        Err(Malformed)
    }

    /// Appends the labels at the offset `at` without changing their case. Returns the offset of the first byte that is
    /// not the length of a label: the root, a pointer, or malformed.
    #[inline]
    fn fill_labels(&mut self, packet: &[u8], at: usize) -> Result<usize, Malformed> {
        let (begin, mut next) = (usize::from(self.length) - 1, at);
        loop {
            let length = usize::from(*packet.get(next).ok_or(Malformed)?);
            let end = begin + next - at;
            if length == 0 || length > LONGEST_LABEL {
                self.bytes[begin..end].copy_from_slice(&packet[at..next]);
                self.bytes[end] = 0;
                self.length = end as u8 + 1;
                return Ok(next);
            }
            if end + 1 + length >= LONGEST_NAME {
                return Err(Malformed);
            }
            self.starts[usize::from(self.labels)] = end as u8;
            self.labels += 1;
            next += 1 + length;
        }
    }

    /// Turns the name into lower case. Bytes that are lengths are below all letters and so do not change.
    #[inline]
    fn lower(&mut self) {
        let (words, _) = self.bytes.as_chunks_mut::<8>();
        for word in &mut words[..usize::from(self.length).div_ceil(8)] {
            *word = lower(u64::from_ne_bytes(*word)).to_ne_bytes();
        }
    }

    /// Reads a name like [`Name::read`], but keeps its case.
    pub(crate) fn read_as_is(packet: &[u8], at: usize) -> Result<(Vec<u8>, usize), Malformed> {
        let (name, end) = Self::read(packet, at)?;
        let (mut as_is, mut at) = (Vec::with_capacity(name.wire().len()), at);
        // [`Name::read`] has shown that the pointers end and stay inside the packet.
        loop {
            let length = usize::from(packet[at]);
            if packet[at] & POINTER == POINTER {
                at = target(packet, at)?;
                continue;
            }
            as_is.extend_from_slice(&packet[at..=at + length]);
            at += 1 + length;
            if length == 0 {
                return Ok((as_is, end));
            }
        }
    }

    /// The compression pointers of a name: the offset of each, and the range of the labels that it leads to up to the
    /// next pointer or the root. The name must have been read before.
    pub(crate) fn pointers(packet: &[u8], at: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
        let labels = |mut at: usize| {
            while (1..=LONGEST_LABEL).contains(&usize::from(packet[at])) {
                at += 1 + usize::from(packet[at]);
            }
            at
        };
        let mut last = labels(at);
        std::iter::from_fn(move || {
            let place = last;
            (packet[place] != 0).then(|| {
                let target = target(packet, place).unwrap_or_default();
                last = labels(target);
                (place, target..last + 1)
            })
        })
    }

    /// Reads a name from text, with or without the final dot. Escapes are not known; names in Kubernetes have none.
    pub(crate) fn from_text(text: &str) -> Result<Self, Malformed> {
        let mut name = Self::root();
        if text == "." {
            return Ok(name);
        }
        for label in text.strip_suffix('.').unwrap_or(text).split('.') {
            name.push(label.as_bytes())?;
        }
        Ok(name)
    }

    /// The root.
    pub(crate) fn root() -> Self {
        Self { bytes: [0; ROOM], length: 1, starts: [0; LONGEST_NAME / 2 + 1], labels: 0 }
    }

    fn push(&mut self, label: &[u8]) -> Result<(), Malformed> {
        let start = usize::from(self.length) - 1;
        let end = start + 1 + label.len();
        if label.is_empty() || label.len() > LONGEST_LABEL || end >= LONGEST_NAME {
            return Err(Malformed);
        }
        self.starts[usize::from(self.labels)] = start as u8;
        self.labels += 1;
        self.bytes[start] = label.len() as u8;
        self.bytes[start + 1..end].copy_from_slice(label);
        self.bytes[start + 1..end].make_ascii_lowercase();
        self.bytes[end] = 0;
        self.length = end as u8 + 1;
        Ok(())
    }

    /// The reverse zone of IPv4, `in-addr.arpa` (RFC 1035, 3.5).
    pub(crate) fn reverse_v4() -> Self {
        Self::of_labels([&b"in-addr"[..], b"arpa"])
    }

    /// The reverse zone of IPv6, `ip6.arpa` (RFC 3596, 2.5).
    pub(crate) fn reverse_v6() -> Self {
        Self::of_labels([&b"ip6"[..], b"arpa"])
    }

    /// The name of an address in the reverse zones.
    pub(crate) fn of_address(address: IpAddr) -> Result<Self, Malformed> {
        match address {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                Self::from_text(&format!("{d}.{c}.{b}.{a}.in-addr.arpa"))
            }
            IpAddr::V6(v6) => {
                let bytes = v6.octets();
                let nibbles = bytes.iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
                let labels: Vec<_> = nibbles.map(|nibble| format!("{nibble:x}.")).collect();
                Self::from_text(&format!("{}ip6.arpa", labels.concat()))
            }
        }
    }

    /// The name made of parts in wire form, of which the last ends with the root.
    pub(crate) fn of_parts(parts: &[&[u8]]) -> Result<Self, Malformed> {
        Self::read(&parts.concat(), 0).map(|(name, _)| name)
    }

    fn of_labels<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Self {
        labels.into_iter().fold(Self::root(), |mut name, label| {
            // These are short enough to fit.
            let _ = name.push(label);
            name
        })
    }

    /// Whether it is in a reverse zone.
    pub(crate) fn is_reverse(&self) -> bool {
        [Self::reverse_v4(), Self::reverse_v6()].iter().any(|zone| self.below(zone).is_some())
    }

    /// The name in wire form.
    pub(crate) fn wire(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// How many labels it has, without the root.
    pub(crate) fn labels(&self) -> usize {
        usize::from(self.labels)
    }

    /// The offset of the length byte of a label; behind the last label, that of the root.
    pub(crate) fn start(&self, label: usize) -> usize {
        if label < self.labels() { usize::from(self.starts[label]) } else { usize::from(self.length) - 1 }
    }

    /// A label without its length byte.
    pub(crate) fn label(&self, label: usize) -> &[u8] {
        &self.bytes[self.start(label) + 1..self.start(label + 1)]
    }

    /// The labels from `from` up to but not including `to`, in wire form without the root.
    pub(crate) fn span(&self, from: usize, to: usize) -> &[u8] {
        &self.bytes[self.start(from)..self.start(to)]
    }

    /// How many labels it has in front of `domain`; `None` if it is neither `domain` nor below it.
    pub(crate) fn below(&self, domain: &Self) -> Option<usize> {
        let in_front = self.labels().checked_sub(domain.labels())?;
        (self.wire()[self.start(in_front)..] == *domain.wire()).then_some(in_front)
    }
}

/// Turns the capital letters of ASCII among eight bytes into lower case. Written by hand because the compiler does not
/// vectorize this loop when it optimizes for size.
#[inline]
const fn lower(word: u64) -> u64 {
    const EACH: u64 = u64::MAX / 255;
    let low = word & (0x7F * EACH);
    // The top bit of each byte is set in `from_a` if the byte is at least A, and in `after_z` if it is more than Z.
    let (from_a, after_z) = (low + (0x80 - b'A' as u64) * EACH, low + (0x7F - b'Z' as u64) * EACH);
    let capital = (from_a ^ after_z) & !word & (0x80 * EACH);
    word | capital >> 2
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.wire() == other.wire()
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.wire().hash(state);
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.labels == 0 {
            return f.write_str(".");
        }
        (0..self.labels()).try_for_each(|label| write!(f, "{}.", self.label(label).escape_ascii()))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The offset that the compression pointer at `at` leads to.
fn target(packet: &[u8], at: usize) -> Result<usize, Malformed> {
    Ok(usize::from(super::word(packet, at)? & !(u16::from(POINTER) << 8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(tail: &[u8]) -> Vec<u8> {
        [&[0; HEADER], tail].concat()
    }

    /// RFC 4343, 3.
    #[test]
    fn only_ascii_letters_have_a_case() {
        for byte in 0..=255u8 {
            let word = [byte, b'Z', 0xFF, byte, b'@', b'[', byte, b'A'];
            let expected = word.map(|byte| byte.to_ascii_lowercase());
            assert_eq!(lower(u64::from_ne_bytes(word)).to_ne_bytes(), expected, "{byte}");
        }
    }

    #[test]
    fn names_are_at_most_255_bytes_and_labels_63() {
        let label = "a".repeat(63);
        let longest = [&label[..], &label, &label, &label[..61]].join(".");
        assert_eq!(Name::from_text(&longest).unwrap().wire().len(), LONGEST_NAME);
        assert!(Name::from_text(&format!("{longest}a")).is_err());
        assert!(Name::from_text(&"a".repeat(64)).is_err());
        assert!(Name::from_text("a..b").is_err());
        let most_labels = ["a"; 127].join(".");
        assert_eq!(Name::from_text(&most_labels).unwrap().labels(), 127);
        assert!(Name::from_text(&format!("a.{most_labels}")).is_err());
    }

    #[test]
    fn pointers_must_lead_backwards() {
        let good = packet(b"\x01B\x01c\0\x01a\xC0\x0C");
        let (name, end) = Name::read(&good, HEADER + 5).unwrap();
        assert_eq!((name.to_string().as_str(), end), ("a.b.c.", good.len()));
        for bad in [&b"\xC0\x0C"[..], b"\x01a\xC0\x0C", b"\xC0\x0E\xC0\x0C", b"\xC0\x00", b"\x80", b"\xC0"] {
            assert_eq!(Name::read(&packet(bad), HEADER).unwrap_err(), Malformed);
        }
        let hops = packet(b"\x01a\0\xC0\x0C\xC0\x0F\xC0\x11");
        assert_eq!(Name::read(&hops, HEADER + 7).unwrap().0.to_string(), "a.");
    }

    #[test]
    fn whole_labels_decide_whether_a_name_is_below_a_domain() {
        let domain = Name::from_text("cluster.local").unwrap();
        let labels = |text| Name::from_text(text).unwrap().below(&domain);
        assert_eq!(labels("web.default.svc.Cluster.LOCAL."), Some(3));
        assert_eq!(labels("cluster.local"), Some(0));
        assert_eq!(labels("mycluster.local"), None);
        assert_eq!(labels("local"), None);
    }

    #[test]
    fn a_name_has_at_most_as_many_pointers_as_labels() {
        let chain = |pointers: usize| {
            let mut packet = vec![0; HEADER];
            packet.extend_from_slice(b"\x01a\0\xC0\x0C");
            for _ in 1..pointers {
                let last = packet.len() - 2;
                packet.extend_from_slice(&[0xC0 | (last >> 8) as u8, last as u8]);
            }
            Name::read(&packet, packet.len() - 2).map(|(name, _)| name.to_string())
        };
        assert_eq!(chain(MOST_POINTERS), Ok("a.".to_owned()));
        assert_eq!(chain(MOST_POINTERS + 1), Err(Malformed));
    }
}

//! Reading replies of upstream resolvers, which may have any contents.

use crate::wire::{
    HEADER, LARGEST_TCP, Malformed, Name, Question, Section, flag, kind, names_inside, rcode, word,
};

use super::reply::{Cacheability, RecordPlace};

/// The sections of a message, in order.
const SECTIONS: [Section; 3] = [Section::Answer, Section::Authority, Section::Additional];

/// The TTL in seconds that clients are told for refusals and replies without records; the shortest of CoreDNS.
pub(super) const REFUSAL: u32 = 5;

/// Why a reply is no answer to its question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReplyError {
    /// It cannot be read.
    #[error("a malformed reply")]
    Malformed,
    /// Its answer section is about other names.
    #[error("a reply that answers for other names than the one asked for")]
    Foreign,
    /// Its aliases lead in a circle, or from one name to several.
    #[error("a reply whose aliases (CNAME) lead in circles or to several names")]
    Circle,
}

impl From<Malformed> for ReplyError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// What was found in a reply. Records that do not belong to the question are left out.
#[derive(Debug)]
pub(super) struct Scan {
    /// The offset of the first record.
    pub(super) start: usize,
    /// The places of all records up to OPT.
    pub(super) records: Vec<RecordPlace>,
    /// How many of them are in each section.
    pub(super) counts: [u16; 3],
    /// The response code, with the upper bits of EDNS.
    pub(super) rcode: u16,
    /// Whether the name at the end of the aliases has records of the type asked for.
    answered: bool,
    /// How long a negative answer may be cached, in seconds (RFC 2308, 5); `None` without SOA record.
    absence: Option<u32>,
    /// The shortest TTL, in seconds.
    shortest: u32,
}

/// A record of the answer section.
struct Answer {
    owner: Name,
    kind: u16,
    /// The target, if it is a CNAME record.
    target: Option<Name>,
}

impl Scan {
    /// Reads a reply that repeats its question.
    pub(super) fn of(packet: &[u8], question: &Question) -> Result<Self, ReplyError> {
        if packet.len() > LARGEST_TCP {
            return Err(ReplyError::Malformed);
        }
        let start = HEADER + question.wire().len();
        let mut scan = Self {
            start,
            records: Vec::new(),
            counts: [0; 3],
            rcode: word(packet, 2)? & flag::RCODE,
            answered: false,
            absence: None,
            shortest: u32::MAX,
        };
        let (mut at, mut answer) = (start, Vec::new());
        'sections: for (place, section) in SECTIONS.into_iter().enumerate() {
            for _ in 0..word(packet, 6 + 2 * place)? {
                let record = Record::read(packet, at, &scan.records)?;
                if record.kind == kind::OPT {
                    // There may be one OPT record, in the additional section (RFC 6891, 6.1.1). Additional records
                    // behind it are left out.
                    if section != Section::Additional {
                        return Err(ReplyError::Malformed);
                    }
                    scan.rcode |= u16::from(packet[record.ttl]) << 4;
                    break 'sections;
                }
                scan.take(packet, section, &record, &mut answer)?;
                at = record.end;
            }
            if section == Section::Answer && !scan.keep_own(question, &answer)? {
                break;
            }
        }
        Ok(scan)
    }

    fn take(
        &mut self,
        packet: &[u8],
        section: Section,
        record: &Record,
        answer: &mut Vec<Answer>,
    ) -> Result<(), ReplyError> {
        let ttl = u32::from(word(packet, record.ttl)?) << 16 | u32::from(word(packet, record.ttl + 2)?);
        // A TTL with the top bit set counts as 0 (RFC 2181, 8).
        let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
        self.shortest = self.shortest.min(ttl);
        match section {
            Section::Answer => {
                let target =
                    if record.kind == kind::CNAME { Some(Name::read(packet, record.data)?.0) } else { None };
                answer.push(Answer { owner: record.owner.clone(), kind: record.kind, target });
            }
            Section::Authority if record.kind == kind::SOA => {
                let last = record.end - 4;
                let minimum = u32::from(word(packet, last)?) << 16 | u32::from(word(packet, last + 2)?);
                self.absence.get_or_insert(ttl.min(minimum));
            }
            Section::Authority | Section::Additional => {}
        }
        // Both fit, since the message has at most 65,535 bytes.
        self.records.push(RecordPlace { ttl: record.ttl as u16, end: record.end as u16 });
        self.counts[section as usize] += 1;
        Ok(())
    }

    /// Keeps the records of the answer section that belong to the name asked for or to the names that its aliases lead
    /// to: a resolver is no authority for other names. Names may point to records before them, so the message ends at
    /// the first record that does not belong. Returns whether all belong.
    fn keep_own(&mut self, question: &Question, answer: &[Answer]) -> Result<bool, ReplyError> {
        let mut on_the_way = vec![question.name()];
        while let Some(next) = next_alias(answer, &on_the_way[on_the_way.len() - 1])? {
            if on_the_way.contains(next) {
                return Err(ReplyError::Circle);
            }
            on_the_way.push(next.clone());
        }
        let asked = question.kind();
        // For these types the alias itself is the answer.
        let place = if matches!(asked, kind::CNAME | kind::ANY) { 0 } else { on_the_way.len() - 1 };
        let owner = &on_the_way[place];
        self.answered = answer
            .iter()
            .any(|record| record.owner == *owner && (record.kind == asked || asked == kind::ANY));
        let belongs = |record: &Answer| {
            on_the_way.contains(&record.owner)
                || record.kind == kind::DNAME
                    && on_the_way.iter().any(|name| name.below(&record.owner).is_some())
        };
        let own = answer.iter().position(|record| !belongs(record)).unwrap_or(answer.len());
        if own == 0 && !answer.is_empty() {
            return Err(ReplyError::Foreign);
        }
        self.records.truncate(own);
        self.counts[0] = own as u16;
        Ok(own == answer.len())
    }

    /// Whether and how the reply may be cached.
    pub(super) fn cacheability(&self, question: &Question) -> Cacheability {
        match (self.rcode, self.answered, self.absence) {
            (rcode::NOERROR, true, _) => Cacheability::Success(self.shortest),
            (rcode::NOERROR | rcode::NXDOMAIN, false, Some(absence)) if question.kind() != kind::ANY => {
                Cacheability::Denial(self.shortest.min(absence))
            }
            (rcode::SERVFAIL, ..) => Cacheability::Failure,
            _ => Cacheability::Uncacheable(self.shortest()),
        }
    }

    /// The shortest TTL of its records in seconds; [`REFUSAL`] if it is a failure or has no records.
    pub(super) fn shortest(&self) -> u32 {
        let told = matches!(self.rcode, rcode::NOERROR | rcode::NXDOMAIN) && !self.records.is_empty();
        if told { self.shortest } else { REFUSAL }
    }
}

/// The target of the alias with this name, if there is one.
fn next_alias<'a>(answer: &'a [Answer], name: &Name) -> Result<Option<&'a Name>, ReplyError> {
    let mut targets =
        answer.iter().filter(|record| record.owner == *name).filter_map(|record| record.target.as_ref());
    let Some(first) = targets.next() else { return Ok(None) };
    if targets.any(|other| other != first) { Err(ReplyError::Circle) } else { Ok(Some(first)) }
}

/// The parts of a record, most of them as offsets.
struct Record {
    owner: Name,
    kind: u16,
    ttl: usize,
    data: usize,
    end: usize,
}

impl Record {
    /// Reads the record at the offset `at`, behind the records `before`.
    fn read(packet: &[u8], at: usize, before: &[RecordPlace]) -> Result<Self, Malformed> {
        let (owner, head) = Name::read(packet, at)?;
        let ttl = head + 4;
        let stays = |at| if stays(packet, at, ttl, before) { Ok(()) } else { Err(Malformed) };
        stays(at)?;
        let (kind, data) = (word(packet, head)?, head + 10);
        let end = data + usize::from(word(packet, head + 8)?);
        if end > packet.len() {
            return Err(Malformed);
        }
        let fixed = match kind {
            kind::A => Some(4),
            kind::AAAA => Some(16),
            _ => None,
        };
        if fixed.is_some_and(|length| data + length != end) {
            return Err(Malformed);
        }
        if let Some((before, count)) = names_inside(kind) {
            let mut at = data + before;
            for _ in 0..count {
                let name = at;
                at = Name::read(packet, name)?.1;
                stays(name)?;
            }
            let rest = if kind == kind::SOA { 20 } else { 0 };
            if at + rest != end {
                return Err(Malformed);
            }
        }
        Ok(Self { owner, kind, ttl, data, end })
    }
}

/// Whether the name at the offset `at`, in a record with its TTL at the offset `ttl`, is the same in every copy of the
/// reply. Copies have other TTLs and may be cut off, so the bytes that its pointers lead to must be before the
/// pointers and must not be those of a TTL. Otherwise a copy could have a name that [`Scan::keep_own`] did not check.
fn stays(packet: &[u8], at: usize, ttl: usize, before: &[RecordPlace]) -> bool {
    Name::pointers(packet, at).all(|(pointer, bytes)| {
        let touches = |ttl: usize| ttl < bytes.end && bytes.start < ttl + 4;
        let next = before.partition_point(|spot| usize::from(spot.ttl) + 4 <= bytes.start);
        let touches_one = before.get(next).is_some_and(|spot| touches(usize::from(spot.ttl)));
        bytes.end <= pointer && !touches(ttl) && !touches_one
    })
}

#[cfg(test)]
mod tests {
    use super::super::test_replies::{TestReply, name, soa};
    use super::*;

    const ADDRESS: &[u8] = &[192, 0, 2, 1];

    fn cacheability(sample: &TestReply) -> Result<Cacheability, ReplyError> {
        sample.entry().map(|entry| entry.cacheability)
    }

    #[test]
    fn an_answer_is_cached_for_its_shortest_ttl() {
        let sample = TestReply::new("a.example", kind::A)
            .answer("a.example", kind::CNAME, 300, &name("b.example"))
            .answer("b.example", kind::A, 60, ADDRESS);
        assert_eq!(cacheability(&sample), Ok(Cacheability::Success(60)));
        let negative = TestReply::new("a.example", kind::A).answer("a.example", kind::A, 1 << 31, ADDRESS);
        assert_eq!(cacheability(&negative), Ok(Cacheability::Success(0)), "RFC 2181, 8");
    }

    /// RFC 2308, 5: the lesser of the TTL of the SOA record and its last field counts; without SOA record it is not
    /// cached.
    #[test]
    fn a_negative_answer_is_cached_as_long_as_the_soa_record_says() {
        let absent = |rcode| TestReply::new("a.example", kind::A).rcode(rcode);
        for rcode in [rcode::NOERROR, rcode::NXDOMAIN] {
            let told = |ttl, minimum| absent(rcode).authority("example", kind::SOA, ttl, &soa(minimum));
            assert_eq!(cacheability(&told(600, 30)), Ok(Cacheability::Denial(30)));
            assert_eq!(cacheability(&told(20, 30)), Ok(Cacheability::Denial(20)));
            assert_eq!(cacheability(&absent(rcode)), Ok(Cacheability::Uncacheable(REFUSAL)));
        }
        let alias = absent(rcode::NOERROR)
            .answer("a.example", kind::CNAME, 60, &name("b.example"))
            .authority("example", kind::SOA, 60, &soa(30));
        assert_eq!(cacheability(&alias), Ok(Cacheability::Denial(30)), "RFC 2308, 2.2");
    }

    #[test]
    fn failures_refusals_and_truncated_replies_are_told_apart() {
        let sample = TestReply::new("a.example", kind::A);
        assert_eq!(cacheability(&sample.clone().rcode(rcode::SERVFAIL)), Ok(Cacheability::Failure));
        assert_eq!(
            cacheability(&sample.clone().rcode(rcode::REFUSED)),
            Ok(Cacheability::Uncacheable(REFUSAL))
        );
        let cut = sample.flags(flag::TC).answer("a.example", kind::A, 60, ADDRESS);
        assert_eq!(cacheability(&cut), Ok(Cacheability::Uncacheable(60)));
    }

    #[test]
    fn records_of_other_names_are_not_passed_on() {
        let sample = TestReply::new("a.example", kind::A);
        let lie = sample.clone().answer("bank.example", kind::A, 60, ADDRESS);
        assert_eq!(cacheability(&lie), Err(ReplyError::Foreign));
        let both = sample
            .answer("a.example", kind::A, 60, ADDRESS)
            .answer("bank.example", kind::A, 60, ADDRESS)
            .additional("bank.example", kind::A, 60, ADDRESS);
        let scan = Scan::of(&both.packet(), &both.question()).unwrap();
        assert_eq!((scan.counts, scan.records.len()), ([1, 0, 0], 1));
    }

    #[test]
    fn targets_of_aliases_are_passed_on_whatever_the_type() {
        for kind in [kind::ANY, kind::CNAME, kind::A] {
            let chain = TestReply::new("a.example", kind)
                .answer("a.example", kind::CNAME, 60, &name("b.example"))
                .answer("b.example", kind::CNAME, 60, &name("c.example"));
            assert_eq!(Scan::of(&chain.packet(), &chain.question()).unwrap().counts, [2, 0, 0]);
            let answered = matches!(cacheability(&chain), Ok(Cacheability::Success(60)));
            assert_eq!(answered, kind != kind::A);
        }
    }

    #[test]
    fn aliases_may_come_in_any_order_but_not_in_circles() {
        let sample = TestReply::new("a.example", kind::A);
        let backwards = sample.clone().answer("b.example", kind::A, 60, ADDRESS).answer(
            "a.example",
            kind::CNAME,
            60,
            &name("b.example"),
        );
        assert_eq!(cacheability(&backwards), Ok(Cacheability::Success(60)));
        let circle = sample.clone().answer("a.example", kind::CNAME, 60, &name("b.example")).answer(
            "b.example",
            kind::CNAME,
            60,
            &name("a.example"),
        );
        assert_eq!(cacheability(&circle), Err(ReplyError::Circle));
        let fork = sample.answer("a.example", kind::CNAME, 60, &name("b.example")).answer(
            "a.example",
            kind::CNAME,
            60,
            &name("c.example"),
        );
        assert_eq!(cacheability(&fork), Err(ReplyError::Circle), "RFC 2181, 10.1");
    }

    #[test]
    fn unknown_types_pass_as_they_are() {
        let sample = TestReply::new("a.example", 65_280).answer("a.example", 65_280, 60, &[0xC0, 0xFF, 1]);
        assert_eq!(cacheability(&sample), Ok(Cacheability::Success(60)));
    }

    #[test]
    fn damaged_replies_do_no_harm() {
        let sample = TestReply::new("a.example", kind::A)
            .answer("a.example", kind::CNAME, 60, &name("b.example"))
            .answer("b.example", kind::A, 60, ADDRESS)
            .authority("example", kind::SOA, 60, &soa(30))
            .additional("ns.example", kind::AAAA, 60, &[0; 16])
            .edns(0);
        let (packet, question) = (sample.packet(), sample.question());
        let start = HEADER + question.wire().len();
        for length in start..packet.len() {
            let cut = Scan::of(&packet[..length], &question);
            assert!(cut.is_err(), "{length} of {} bytes", packet.len());
        }
        for bit in 16..packet.len() * 8 {
            let mut flipped = packet.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // Records of a reply that can be read are inside the packet.
            if let Ok(scan) = Scan::of(&flipped, &question) {
                assert!(scan.records.iter().all(|spot| usize::from(spot.end) <= flipped.len()));
            }
        }
    }

    #[test]
    fn names_must_not_point_to_bytes_that_copies_change_or_lack() {
        // An alias of `b`, whose TTL has the bytes of the name `b`; and an address whose owner name is a pointer to
        // `place`.
        let found_at = |place: usize| {
            let question = TestReply::new("a.example", kind::AAAA).question();
            let mut packet = vec![0, 0, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0];
            packet.extend_from_slice(question.wire());
            let alias = packet.len();
            packet.extend_from_slice(b"\xC0\x0C\0\x05\0\x01\x01b\0\0\0\x03\x01b\0");
            packet.extend_from_slice(&[0xC0, place as u8, 0, 28, 0, 1]);
            // A TTL whose zeros would end a name that begins with the type of the question.
            packet.extend_from_slice(&[0, 0, 0, 60, 0, 16]);
            packet.extend_from_slice(&[0; 16]);
            (alias, Scan::of(&packet, &question).map(|scan| scan.records.len()))
        };
        let alias = found_at(HEADER).0;
        assert_eq!(found_at(alias + 12).1, Ok(2), "the data of the alias stays");
        assert_eq!(found_at(alias + 6).1, Err(ReplyError::Malformed), "its TTL does not");
        assert_eq!(
            found_at(alias - 3).1,
            Err(ReplyError::Malformed),
            "what is behind the pointer may be cut off"
        );
    }
}

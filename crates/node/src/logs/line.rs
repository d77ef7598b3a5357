//! One line of a CRI log: `<RFC 3339 time> <stdout|stderr> <F|P> <text>`.
//!
//! `P` marks a part of a line that goes on in the next record (CRI logging format, kubernetes/design-proposals).

use jiff::Timestamp;

/// A record of a log, without its line feed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Line<'a> {
    /// When it was written.
    pub(crate) time: Timestamp,
    /// The time as it stands in the log.
    pub(crate) stamp: &'a str,
    /// Whether the line goes on in the next record.
    pub(crate) partial: bool,
    /// What the container wrote.
    pub(crate) text: &'a [u8],
}

impl<'a> Line<'a> {
    /// Reads a record; `None` when it is none.
    pub(crate) fn parse(record: &'a [u8]) -> Option<Self> {
        let mut fields = record.splitn(4, |&byte| byte == b' ');
        let stamp = std::str::from_utf8(fields.next()?).ok()?;
        let time = stamp.parse().ok()?;
        let stream = fields.next()?;
        if stream != b"stdout" && stream != b"stderr" {
            return None;
        }
        // Further tags may follow the first after colons.
        let partial = fields.next()?.first() == Some(&b'P');
        Some(Self { time, stamp, partial, text: fields.next().unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_line_and_a_part_of_one() {
        let line = Line::parse(b"2016-10-06T00:17:09.669794202Z stdout F a  b").unwrap();
        assert_eq!((line.text, line.partial), (&b"a  b"[..], false));
        assert_eq!(line.stamp, "2016-10-06T00:17:09.669794202Z");
        assert!(Line::parse(b"2016-10-06T00:17:09.6Z stderr P half").unwrap().partial);
        assert_eq!(Line::parse(b"2016-10-06T02:17:09.6+02:00 stderr F").unwrap().text, b"");
    }

    #[test]
    fn what_is_no_record_is_none() {
        for bad in
            [&b""[..], b"x", b"2016 stdout F a", b"2016-10-06T00:17:09Z stdin F a", b"\xff\xfe stdout F a"]
        {
            assert_eq!(Line::parse(bad), None);
        }
    }
}

//! A value that still lacks the revision of its own write.

use bytes::Bytes;

/// A value to be written, with at most one hole for the revision it will get.
///
/// An API object carries its own `metadata.resourceVersion`, which is known only once the write has
/// its place in the log. The writer therefore hands over the bytes before and after that number, and
/// the engine that assigns the revision joins them: the stored form is the final form.
#[derive(Clone, Debug)]
pub struct Draft {
    head: Bytes,
    tail: Option<Bytes>,
}

impl Draft {
    /// A value without a hole.
    pub fn plain(value: impl Into<Bytes>) -> Self {
        Self { head: value.into(), tail: None }
    }

    /// A value into which the decimal revision goes between `head` and `tail`.
    pub fn with_hole(head: impl Into<Bytes>, tail: impl Into<Bytes>) -> Self {
        Self { head: head.into(), tail: Some(tail.into()) }
    }

    /// Upper bound of the finished value's length in bytes.
    pub fn max_len(&self) -> usize {
        const DIGITS_OF_U64: usize = 20;
        self.head.len() + self.tail.as_ref().map_or(0, |tail| tail.len() + DIGITS_OF_U64)
    }

    /// The final value, written at `revision`.
    pub fn finish(&self, revision: u64) -> Bytes {
        let Some(tail) = &self.tail else { return self.head.clone() };
        let digits = revision.to_string();
        let mut value = Vec::with_capacity(self.head.len() + digits.len() + tail.len());
        value.extend_from_slice(&self.head);
        value.extend_from_slice(digits.as_bytes());
        value.extend_from_slice(tail);
        value.into()
    }
}

#[cfg(test)]
mod tests {
    use super::Draft;

    #[test]
    fn the_revision_fills_the_hole() {
        let draft = Draft::with_hole(&b"{\"rv\":\""[..], &b"\"}"[..]);
        assert_eq!(draft.finish(42), "{\"rv\":\"42\"}");
        assert!(draft.max_len() >= draft.finish(u64::MAX).len());
    }

    #[test]
    fn a_plain_value_stays_as_it_is() {
        assert_eq!(Draft::plain(&b"x"[..]).finish(7), "x");
    }
}

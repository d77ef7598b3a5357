//! Numbers of seconds that came from outside: timeouts, grace periods, ages.

use std::time::Duration;

/// A number of seconds that a client gave, from 0 to [`Seconds::MAX`].
///
/// The API's fields are 64-bit integers, and clients send every one of them. A larger number counts as the
/// largest and a negative one as 0, so that a clock's reading plus [`Seconds::duration`] never overflows.
///
/// ```
/// use std::time::{Duration, Instant};
/// use api::seconds::Seconds;
///
/// assert_eq!(Seconds::from(-5_i64).duration(), Duration::ZERO);
/// let deadline = Instant::now() + Seconds::from(i64::MAX).duration();
/// assert!(deadline > Instant::now());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seconds(u64);

impl Seconds {
    /// A hundred years: what no process and no pod outlives, and every clock can add to its reading.
    pub const MAX: Self = Self(100 * 365 * 24 * 60 * 60);

    /// The number itself.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The span of time.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }

    /// Reads a decimal number with an optional sign, as query parameters have it. A number with more digits
    /// than 64 bits hold counts as the largest of its sign; what is no number gives none.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        if text.starts_with('-') {
            return Some(Self(0));
        }
        Some(Self::from(digits.parse::<u64>().unwrap_or(u64::MAX)))
    }
}

impl From<u64> for Seconds {
    fn from(seconds: u64) -> Self {
        Self(seconds.min(Self::MAX.0))
    }
}

impl From<i64> for Seconds {
    fn from(seconds: i64) -> Self {
        Self::from(u64::try_from(seconds).unwrap_or(0))
    }
}

impl From<i32> for Seconds {
    fn from(seconds: i32) -> Self {
        Self::from(i64::from(seconds))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use super::*;

    #[test]
    fn numbers_at_the_ends_of_their_range_saturate() {
        assert_eq!(Seconds::from(u64::MAX), Seconds::MAX);
        assert_eq!(Seconds::from(i64::MAX), Seconds::MAX);
        assert_eq!(Seconds::from(i64::MIN).get(), 0);
        assert_eq!(Seconds::from(i32::MIN).get(), 0);
        assert_eq!(Seconds::from(30_i64).duration(), Duration::from_secs(30));
    }

    #[test]
    fn clocks_can_add_the_longest() {
        assert!(Instant::now().checked_add(Seconds::MAX.duration()).is_some());
        assert!(SystemTime::now().checked_add(Seconds::MAX.duration()).is_some());
    }

    #[test]
    fn texts_are_read_whatever_their_length() {
        assert_eq!(Seconds::parse("60"), Some(Seconds::from(60_u64)));
        assert_eq!(Seconds::parse("18446744073709551616"), Some(Seconds::MAX));
        assert_eq!(Seconds::parse("-1"), Some(Seconds::default()));
        for text in ["", "-", "+", "1s", "1.5", " 1", "1_0"] {
            assert_eq!(Seconds::parse(text), None, "{text:?}");
        }
    }
}

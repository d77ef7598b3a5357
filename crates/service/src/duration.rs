//! Durations as Go writes them, and so Corefiles and the configuration files of Kubernetes: `300ms`, `1m30s`, `1.5h`.
//!
//! The grammar is that of [`time.ParseDuration`](https://pkg.go.dev/time#ParseDuration) without signs: no setting goes
//! back in time. Kubernetes writes `metav1.Duration` in the same way.

use std::time::Duration;

/// The units and their lengths in nanoseconds, units that begin like others first. Both letters that Unicode has for
/// the prefix micro are taken.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration: numbers with a unit each, or `0` alone. `None` if the text is none, or is longer than Go can
/// tell, which is 292 years.
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(service::duration::parse("1m30s"), Some(Duration::from_secs(90)));
/// assert_eq!(service::duration::parse("90"), None);
/// ```
pub fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut total) = (Some(text).filter(|text| !text.is_empty())?, 0_u64);
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), digits);
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let (unit, length) = UNITS.into_iter().find(|(unit, _)| after.starts_with(unit))?;
        let number = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
        total = total.checked_add(number.checked_mul(length)?)?.checked_add(part(fraction, length))?;
        rest = &after[unit.len()..];
    }
    i64::try_from(total).is_ok().then(|| Duration::from_nanos(total))
}

/// The digits that a text begins with, and the rest.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()))
}

/// The nanoseconds of a fraction of a unit, given by the digits after the point. What is below a nanosecond is cut off.
fn part(fraction: &str, unit: u64) -> u64 {
    let (mut rest, mut sum) = (u128::from(unit) << 64, 0_u128);
    for digit in fraction.bytes() {
        rest /= 10;
        sum += rest * u128::from(digit - b'0');
    }
    // A digit loses less than 2^-64 of a nanosecond.
    ((sum + fraction.len() as u128) >> 64) as u64
}

/// Writes a duration as Go does: `1h0m1s`, `1.5s`, `300ms`, `0s`.
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(service::duration::format(Duration::from_secs(900)), "15m0s");
/// ```
pub fn format(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds, duration.subsec_nanos()) {
        (0, 0) => "0s".to_owned(),
        (0, nanoseconds) => {
            let (unit, length) = match nanoseconds {
                1_000_000.. => ("ms", 1e6),
                1_000.. => ("µs", 1e3),
                _ => ("ns", 1.0),
            };
            format!("{}{unit}", f64::from(nanoseconds) / length)
        }
        (_, nanoseconds) => {
            let (hours, minutes) = (seconds / 3600, seconds % 3600 / 60);
            let rest = (seconds % 60) as f64 + f64::from(nanoseconds) / 1e9;
            match (hours, minutes) {
                (0, 0) => format!("{rest}s"),
                (0, _) => format!("{minutes}m{rest}s"),
                _ => format!("{hours}h{minutes}m{rest}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_by_go() {
        for (text, nanoseconds) in [
            ("5s", 5_000_000_000),
            ("500ms", 500_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("1s.5s", 1_500_000_000),
            ("1.000000001s", 1_000_000_001),
            ("0.1ns", 0),
            ("0.3333333333333333333h", 1_199_999_999_999),
            ("1us2µs3μs", 6_000),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Some(Duration::from_nanos(nanoseconds)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_durations() {
        for text in [
            "",
            "5",
            "s",
            ".s",
            "-1s",
            "+1s",
            "5x",
            "1m30",
            "1s2",
            "1..s",
            "5 s",
            "2562048h",
            "99999999999999999999s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_by_go() {
        for (text, written) in [
            ("30s", "30s"),
            ("15m", "15m0s"),
            ("24h", "24h0m0s"),
            ("1h1s", "1h0m1s"),
            ("1.5s", "1.5s"),
            ("300ms", "300ms"),
            ("1500us", "1.5ms"),
            ("20ns", "20ns"),
            ("0", "0s"),
            ("90s", "1m30s"),
        ] {
            assert_eq!(format(parse(text).unwrap()), written, "{text}");
        }
    }
}

//! Times as Go writes them: `300ms`, `1m30s`, `24h0m0s`.

use std::time::Duration;

/// Nanoseconds of each unit, the longer names first.
const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12)];

/// Reads a time; `None` if it is none. Signs are not taken: no setting goes back in time.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut nanoseconds) = (text, 0.0);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|end| *end > 0)?;
        let number: f64 = rest[..end].parse().ok()?;
        let unit_end =
            rest[end..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |length| end + length);
        let (_, size) = UNITS.iter().find(|(name, _)| *name == &rest[end..unit_end])?;
        nanoseconds += number * size;
        rest = &rest[unit_end..];
    }
    (nanoseconds < u64::MAX as f64).then(|| Duration::from_nanos(nanoseconds as u64))
}

/// Writes a time as Go does.
pub(crate) fn print(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds, duration.subsec_nanos()) {
        (0, 0) => "0s".to_owned(),
        (0, nanoseconds) => {
            let (unit, size) = match nanoseconds {
                1_000_000.. => ("ms", 1e6),
                1_000.. => ("µs", 1e3),
                _ => ("ns", 1.0),
            };
            format!("{}{unit}", f64::from(nanoseconds) / size)
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
    fn times_read_and_write_as_in_go() {
        let cases = [
            ("30s", "30s"),
            ("15m", "15m0s"),
            ("24h", "24h0m0s"),
            ("1h1s", "1h0m1s"),
            ("1.5s", "1.5s"),
            ("300ms", "300ms"),
            ("0", "0s"),
            ("90s", "1m30s"),
        ];
        for (text, printed) in cases {
            assert_eq!(print(parse(text).unwrap()), printed, "{text}");
        }
        for text in ["", "s", "5", "-1s", "1x", "1s2", "1..s"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}

//! The scalar types: which JSON values they take, and their canonical form.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::quantity::{FORMAT_ERROR, Quantity};
use crate::schema::Type;

/// Why a value is none of a type.
pub(super) enum Mismatch {
    /// It is of another JSON type.
    Type,
    /// Its text does not parse; says why.
    Text(String),
}

/// Checks that the value is one of the type and makes it canonical. Messages are no scalars.
pub(super) fn canonical(ty: Type, value: &mut Value) -> Result<(), Mismatch> {
    match ty {
        Type::String => check(value.is_string()),
        Type::Bool => check(value.is_boolean()),
        Type::Int32 => check(value.as_i64().is_some_and(|number| i32::try_from(number).is_ok())),
        Type::Int64 => check(value.is_i64()),
        Type::Double => check(value.is_number()),
        Type::Fields | Type::Raw | Type::Message(_) => check(value.is_object()),
        Type::Strings => {
            check(value.as_array().is_some_and(|elements| elements.iter().all(Value::is_string)))
        }
        Type::IntOrString => {
            check(value.is_string() || value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()))
        }
        Type::Bytes => {
            let text = value.as_str().ok_or(Mismatch::Type)?;
            STANDARD.decode(text).map(|_| ()).map_err(|_| {
                let at = text.bytes().position(|one| !is_base64(one)).unwrap_or(text.len());
                Mismatch::Text(format!("illegal base64 data at input byte {at}"))
            })
        }
        Type::Quantity => {
            let text = match &*value {
                Value::String(text) => text.trim().to_owned(),
                Value::Number(number) => number.to_string(),
                _ => return Err(Mismatch::Type),
            };
            let quantity = Quantity::parse(&text).ok_or_else(|| Mismatch::Text(FORMAT_ERROR.to_owned()))?;
            *value = Value::String(quantity.canonical());
            Ok(())
        }
        Type::Time | Type::MicroTime => {
            let text = value.as_str().ok_or(Mismatch::Type)?;
            let time = parse_time(text).ok_or_else(|| {
                let layout = if ty == Type::Time { "2006-01-02T15:04:05Z07:00" } else { MICRO_LAYOUT };
                Mismatch::Text(format!("parsing time {text:?} as {layout:?}: cannot parse {text:?}"))
            })?;
            *value = Value::String(format_time(ty, time));
            Ok(())
        }
        Type::Duration => {
            let text = value.as_str().ok_or(Mismatch::Type)?;
            let nanos = parse_duration(text)
                .ok_or_else(|| Mismatch::Text(format!("time: invalid duration {text:?}")))?;
            *value = Value::String(format_duration(nanos));
            Ok(())
        }
    }
}

const MICRO_LAYOUT: &str = "2006-01-02T15:04:05.000000Z07:00";

fn check(holds: bool) -> Result<(), Mismatch> {
    if holds { Ok(()) } else { Err(Mismatch::Type) }
}

fn is_base64(one: u8) -> bool {
    one.is_ascii_alphanumeric() || matches!(one, b'+' | b'/' | b'=')
}

/// The value that Go reads from `null`.
pub(super) fn zero(ty: Type) -> Value {
    match ty {
        Type::String | Type::Bytes => Value::String(String::new()),
        Type::Bool => Value::Bool(false),
        Type::Int32 | Type::Int64 | Type::Double | Type::IntOrString => Value::from(0),
        Type::Quantity => Value::from("0"),
        Type::Duration => Value::from("0s"),
        Type::Strings => Value::Array(Vec::new()),
        Type::Raw | Type::Fields | Type::Message(_) => Value::Object(Map::new()),
        Type::Time | Type::MicroTime => Value::from("1970-01-01T00:00:00Z"),
    }
}

/// A wrong value, as Go's decoder names it: its JSON type, and numbers that do not fit in full.
pub(super) fn describe(ty: Type, value: &Value) -> String {
    match value {
        Value::Number(number) if matches!(ty, Type::Int32 | Type::Int64 | Type::IntOrString) => {
            format!("number {number}")
        }
        other => type_name(other).to_owned(),
    }
}

/// The name of a value's JSON type.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Reads RFC 3339.
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    // The parser takes more spellings than RFC 3339 has.
    let separated = text.as_bytes().get(10).is_some_and(|one| *one == b'T');
    let zoned = text.ends_with('Z') || text.get(19..).is_some_and(|rest| rest.contains(['+', '-']));
    (separated && zoned && !text.contains('[')).then(|| text.parse().ok()).flatten()
}

/// Writes RFC 3339 in UTC, with seconds or microseconds.
pub(super) fn format_time(ty: Type, time: Timestamp) -> String {
    let layout = if ty == Type::MicroTime { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    time.strftime(layout).to_string()
}

/// Units of Go's duration text, in nanoseconds; longer names first where one is a prefix of another.
const DURATION_UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// Reads Go's duration text, in nanoseconds.
pub(super) fn parse_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|one: char| !one.is_ascii_digit() && one != '.')?;
        let (number, unit) = rest.split_at(end);
        let (name, factor) = DURATION_UNITS.iter().find(|(name, _)| unit.starts_with(name))?;
        total += number.parse::<f64>().ok()? * factor;
        rest = &unit[name.len()..];
    }
    let nanos = sign * total;
    (nanos.abs() < i64::MAX as f64).then_some(nanos as i64)
}

/// Writes Go's duration text.
pub(super) fn format_duration(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let decimal = |unit: u64, name: &str| {
        let text = format!("{}.{:0width$}", nanos / unit, nanos % unit, width = unit.ilog10() as usize);
        format!("{sign}{}{name}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match nanos {
        0..1_000 => format!("{sign}{nanos}ns"),
        1_000..1_000_000 => decimal(1_000, "µs"),
        1_000_000..1_000_000_000 => decimal(1_000_000, "ms"),
        _ => {
            let (minutes, rest) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
            let seconds = format!("{}.{:09}", rest / 1_000_000_000, rest % 1_000_000_000);
            let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_become_utc_seconds_or_microseconds() {
        let table = [
            (Type::Time, "2024-05-01T12:00:00Z", "2024-05-01T12:00:00Z"),
            (Type::Time, "2024-05-01T12:00:00.999+02:00", "2024-05-01T10:00:00Z"),
            (Type::MicroTime, "2024-05-01T12:00:00Z", "2024-05-01T12:00:00.000000Z"),
            (Type::MicroTime, "2024-05-01T12:00:00.1234567Z", "2024-05-01T12:00:00.123456Z"),
        ];
        for (ty, text, expected) in table {
            let mut value = Value::from(text);
            assert!(canonical(ty, &mut value).is_ok(), "{text}");
            assert_eq!(value, expected);
        }
        for text in
            ["", "2024-05-01", "2024-05-01 12:00:00Z", "2024-05-01T12:00:00", "now", "2024-13-01T00:00:00Z"]
        {
            assert!(parse_time(text).is_none(), "{text}");
        }
    }

    #[test]
    fn durations_read_and_write_as_go_does() {
        let table = [
            ("1m30s", "1m30s"),
            ("90s", "1m30s"),
            ("1.5h", "1h30m0s"),
            ("0", "0s"),
            ("250ms", "250ms"),
            ("1500us", "1.5ms"),
            ("-2s", "-2s"),
            ("15ns", "15ns"),
            ("1h", "1h0m0s"),
        ];
        for (text, expected) in table {
            assert_eq!(format_duration(parse_duration(text).expect(text)), expected);
        }
        for text in ["", "1", "s", "1x", "-", "1.2.3s"] {
            assert!(parse_duration(text).is_none(), "{text}");
        }
    }
}

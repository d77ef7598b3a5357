//! Resource quantities: reading them and writing their canonical form.
//!
//! Source: `k8s.io/apimachinery/pkg/api/resource`. A quantity is kept in the format of its suffix (decimal
//! SI, binary SI or decimal exponent), without fraction and with the largest suffix that allows that; more
//! than nine decimal places are rounded up.

/// What upstream says about a text that is no quantity.
pub const FORMAT_ERROR: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// Decimal suffixes from 10^-9 to 10^18, in steps of 10^3.
const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
/// Binary suffixes from 2^0 to 2^60, in steps of 2^10.
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
/// Nano units per unit: the resolution of a quantity.
const NANO: i128 = 1_000_000_000;
/// Larger magnitudes are capped here, as upstream caps at 2^63-1.
const MAX_UNITS: i128 = i64::MAX as i128;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Decimal,
    Binary,
    Exponent,
}

/// A parsed quantity: its value in nano units.
#[derive(Clone, Copy)]
pub struct Quantity {
    nano: i128,
    format: Format,
}

impl Quantity {
    /// Reads a quantity; `None` when the text is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Quantity> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let end = rest.find(|one: char| !one.is_ascii_digit() && one != '.').unwrap_or(rest.len());
        let (digits, suffix) = rest.split_at(end);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return None;
        }
        let (format, numerator, exponent) = scale(suffix)?;
        let nano = to_nano(whole, fraction, numerator, exponent);
        Some(Quantity { nano: if negative { -nano } else { nano }, format })
    }

    /// Whether the value is below zero.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.nano < 0
    }

    /// Compares by value, whatever the suffixes.
    #[must_use]
    pub fn compare(&self, other: &Quantity) -> std::cmp::Ordering {
        self.nano.cmp(&other.nano)
    }

    /// The canonical text.
    #[must_use]
    pub fn canonical(&self) -> String {
        let (nano, sign) = (self.nano.abs(), if self.nano < 0 { "-" } else { "" });
        if nano == 0 {
            return "0".to_owned();
        }
        // A binary quantity below 1024 or with a fraction reads better in decimal.
        if self.format == Format::Binary && nano % NANO == 0 && nano / NANO >= 1024 {
            let (mut units, mut step) = (nano / NANO, 0);
            while units % 1024 == 0 && step + 1 < BINARY.len() {
                units /= 1024;
                step += 1;
            }
            return format!("{sign}{units}{}", BINARY[step]);
        }
        let (mut value, mut step) = (nano, 0);
        while value % 1000 == 0 && step + 1 < DECIMAL.len() {
            value /= 1000;
            step += 1;
        }
        match (self.format, step) {
            (Format::Exponent, 3) => format!("{sign}{value}"),
            (Format::Exponent, step) => format!("{sign}{value}e{}", step as i32 * 3 - 9),
            (_, step) => format!("{sign}{value}{}", DECIMAL[step]),
        }
    }
}

/// A suffix as format, multiplier and decimal exponent.
fn scale(suffix: &str) -> Option<(Format, i128, i32)> {
    if let Some(step) = DECIMAL.iter().position(|one| *one == suffix) {
        return Some((Format::Decimal, 1, i32::try_from(step).ok()? * 3 - 9));
    }
    if let Some(step) = BINARY.iter().position(|one| *one == suffix) {
        return Some((Format::Binary, 1 << (10 * step), 0));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if digits.is_empty() || !digits.bytes().all(|one| one.is_ascii_digit()) {
        return None;
    }
    Some((Format::Exponent, 1, exponent.parse::<i32>().unwrap_or(i32::MAX / 2).clamp(-64, 64)))
}

/// `whole.fraction × numerator × 10^exponent` in nano units, rounded up, capped.
fn to_nano(whole: &str, fraction: &str, numerator: i128, exponent: i32) -> i128 {
    let cap = MAX_UNITS * NANO;
    let mut mantissa: i128 = 0;
    // The decimal places that the mantissa does not hold: positive when digits were left off.
    let mut shift = exponent + 9;
    let mut inexact = false;
    for (digits, is_fraction) in [(whole, false), (fraction, true)] {
        for digit in digits.bytes() {
            let digit = i128::from(digit - b'0');
            match mantissa.checked_mul(10).and_then(|value| value.checked_add(digit)) {
                Some(value) if value <= cap => {
                    mantissa = value;
                    shift -= i32::from(is_fraction);
                }
                _ => {
                    inexact |= digit != 0;
                    shift += i32::from(!is_fraction);
                }
            }
        }
    }
    let Some(mut value) = mantissa.checked_mul(numerator) else { return cap };
    while shift > 0 && value != 0 {
        let Some(next) = value.checked_mul(10).filter(|next| *next <= cap) else { return cap };
        value = next;
        shift -= 1;
    }
    while shift < 0 && value != 0 {
        inexact |= value % 10 != 0;
        value /= 10;
        shift += 1;
    }
    (value + i128::from(inexact)).min(cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_in_canonical_form() {
        let table = [
            ("0", "0"),
            ("1", "1"),
            ("0.5", "500m"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("1.5", "1500m"),
            ("1024Mi", "1Gi"),
            ("128Mi", "128Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Ki", "512"),
            ("1000k", "1M"),
            ("1e3", "1e3"),
            ("1E6", "1e6"),
            ("1E", "1E"),
            ("12e-1", "1200e-3"),
            ("-5", "-5"),
            ("+5", "5"),
            (".5", "500m"),
            ("5.", "5"),
            ("0.0000000001", "1n"),
            ("1u", "1u"),
            ("123456789", "123456789"),
            ("9999999999999999999999", "9223372036854775807"),
            ("0Gi", "0"),
            ("1e0", "1"),
        ];
        for (text, expected) in table {
            assert_eq!(Quantity::parse(text).expect(text).canonical(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "x", "1x", "1.2.3", "-", "+", ".", "1Kib", "1 Gi", "1e", "1e+", "Gi", "1ee3", "１"]
        {
            assert!(Quantity::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn comparison_is_by_value() {
        let parse = |text| Quantity::parse(text).unwrap();
        assert!(parse("1Gi").compare(&parse("1G")).is_gt());
        assert!(parse("1000m").compare(&parse("1")).is_eq());
        assert!(parse("-1").is_negative() && !parse("0").is_negative());
    }
}

//! Kubernetes quantities (`100m`, `64Mi`, `1e3`) as numbers.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

const SUFFIXES: [(&str, f64); 14] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
];

/// The value of a quantity; `None` when it is none.
pub(super) fn value(quantity: &Quantity) -> Option<f64> {
    let text = quantity.0.trim();
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let (suffix, factor) = SUFFIXES.iter().find(|(suffix, _)| text.ends_with(suffix))?;
    text.strip_suffix(suffix)?.parse::<f64>().ok().map(|number| number * factor)
}

/// A quantity in units of `1 / scale`, rounded up.
pub(super) fn scaled(quantity: &Quantity, scale: f64) -> Option<i64> {
    // A float converts to the nearest integer that fits.
    value(quantity).map(|number| (number * scale).ceil() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_binary_and_decimal_suffixes() {
        let value = |text: &str| value(&Quantity(text.into()));
        assert_eq!(value("100m"), Some(0.1));
        assert_eq!(value("64Mi"), Some(67_108_864.0));
        assert_eq!(value("1e3"), Some(1000.0));
        assert_eq!(value("2"), Some(2.0));
        assert_eq!(value("2x"), None);
        assert_eq!(scaled(&Quantity("250m".into()), 1000.0), Some(250));
    }
}

//! Kubernetes quantities (`100m`, `64Mi`, `1e3`) as numbers.

const SUFFIXES: [(&str, f64); 15] = [
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
    ("E", 1e18),
];

/// The value of a quantity (the serialization format of `resource.Quantity`); `None` when it is none.
pub fn quantity(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text.parse().ok();
    let with_suffix = || {
        let (suffix, factor) = SUFFIXES.iter().find(|(suffix, _)| text.ends_with(suffix))?;
        text.strip_suffix(suffix)?.parse::<f64>().ok().map(|number| number * factor)
    };
    plain.or_else(with_suffix).filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_binary_and_decimal_suffixes() {
        for (text, value) in [
            ("100m", Some(0.1)),
            ("64Mi", Some(67_108_864.0)),
            ("1e3", Some(1000.0)),
            ("1E", Some(1e18)),
            ("1.5", Some(1.5)),
            ("2x", None),
            ("lots", None),
            ("inf", None),
        ] {
            assert_eq!(quantity(text), value, "{text}");
        }
    }
}

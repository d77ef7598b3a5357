//! Quantities of containers in the units that the runtime wants.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The value of a quantity; `None` when it is none.
pub(super) fn value(quantity: &Quantity) -> Option<f64> {
    service::quantity(&quantity.0)
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
    fn a_scaled_quantity_is_rounded_up() {
        assert_eq!(scaled(&Quantity("250m".into()), 1000.0), Some(250));
        assert_eq!(scaled(&Quantity("1500m".into()), 1.0), Some(2));
    }
}

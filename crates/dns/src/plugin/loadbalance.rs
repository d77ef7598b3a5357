//! `loadbalance`: addresses of a Service come in another order for each query.

use crate::corefile::{Directive, Fault, Scope};

/// Reads `loadbalance [round_robin]`.
pub(super) fn read(value: &mut bool, directive: &Directive, _: &mut Scope<'_>) -> Result<(), Fault> {
    match directive.arguments.first().map(String::as_str) {
        None | Some("round_robin") => *value = true,
        Some(other) => {
            let text = format!("the policy {other:?} is not there; use round_robin");
            return Err(directive.fault(text));
        }
    }
    match directive.options.first() {
        None => Ok(()),
        Some(option) => Err(directive.unknown_option(option, &["none"])),
    }
}

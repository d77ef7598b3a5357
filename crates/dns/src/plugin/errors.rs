//! `errors`: questions that could not be answered are logged.

use crate::corefile::{Directive, Fault, Scope};

/// Reads `errors`. The options of CoreDNS are accepted and ignored: lines are always written at a bounded rate.
pub(super) fn read(value: &mut bool, directive: &Directive, _: &mut Scope<'_>) -> Result<(), Fault> {
    for option in &directive.options {
        match &*option.name {
            "consolidate" | "stacktrace" | "show_first" => {}
            _ => return Err(directive.unknown_option(option, &["consolidate", "stacktrace"])),
        }
    }
    *value = true;
    Ok(())
}

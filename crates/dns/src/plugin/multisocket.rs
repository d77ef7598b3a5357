//! `multisocket`: how many sockets share the queries to an address.

use crate::corefile::{Directive, Fault, Scope};

/// Reads `multisocket [NUMBER]`; without a number there is one socket for each processor.
pub(super) fn read(value: &mut Option<usize>, directive: &Directive, _: &mut Scope<'_>) -> Result<(), Fault> {
    let count = directive.at_most_one("NUMBER")?.map(|text| directive.number(text)).transpose()?;
    if count.is_some_and(|count| !(1..=1024).contains(&count)) {
        return Err(directive.fault("there can be 1 to 1024 sockets"));
    }
    *value = count;
    Ok(())
}

//! `bufsize`: the largest reply over UDP.

use crate::corefile::{Directive, Fault, Scope};

/// Reads `bufsize [SIZE]`, in bytes.
pub(super) fn read(value: &mut Option<u16>, directive: &Directive, _: &mut Scope<'_>) -> Result<(), Fault> {
    let size = directive.at_most_one("SIZE")?.map_or(Ok(1232), |text| directive.number(text))?;
    if !(512..=4096).contains(&size) {
        return Err(directive.fault("the largest reply over UDP is from 512 to 4096 bytes"));
    }
    *value = Some(size);
    Ok(())
}

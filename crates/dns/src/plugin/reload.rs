//! `reload`: how often the Corefile is read again.

use std::time::Duration;

use crate::corefile::{Directive, Fault, Scope};

/// Reads `reload [INTERVAL] [JITTER]` or `reload off`. The jitter, which keeps many processes of CoreDNS from reading
/// at once, is not needed here.
pub(super) fn read(
    value: &mut Option<Duration>,
    directive: &Directive,
    _: &mut Scope<'_>,
) -> Result<(), Fault> {
    let every = match directive.arguments.as_slice() {
        [] => Duration::from_secs(30),
        [off] if off == "off" => return Ok(()),
        [every] | [every, _] => directive.duration(every)?,
        _ => return Err(directive.fault("write `reload [INTERVAL] [JITTER]`")),
    };
    if every < Duration::from_secs(2) {
        return Err(directive.fault("the shortest interval is 2s"));
    }
    *value = Some(every);
    Ok(())
}

//! `prometheus`: the address of `/metrics`.

use std::net::SocketAddr;

use crate::corefile::{Directive, Fault, Scope};

/// Reads `prometheus [ADDRESS]`.
pub(super) fn read(
    value: &mut Option<SocketAddr>,
    directive: &Directive,
    _: &mut Scope<'_>,
) -> Result<(), Fault> {
    *value = Some(directive.listen(directive.at_most_one("ADDRESS")?.unwrap_or("localhost:9153"))?);
    Ok(())
}

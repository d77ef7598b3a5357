//! `ready`: the address of `/ready`, which tells whether the names of clusters are known.

use std::net::SocketAddr;

use crate::corefile::{Directive, Fault, Scope};

/// Reads `ready [ADDRESS]`.
pub(super) fn read(
    value: &mut Option<SocketAddr>,
    directive: &Directive,
    _: &mut Scope<'_>,
) -> Result<(), Fault> {
    *value = Some(directive.listen(directive.at_most_one("ADDRESS")?.unwrap_or(":8181"))?);
    Ok(())
}

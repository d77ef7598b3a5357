//! `health`: the address of `/health`, and how long the server goes on after it was told to stop.

use std::net::SocketAddr;
use std::time::Duration;

use crate::corefile::{Directive, Fault, Scope};

/// The directive `health`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealthOptions {
    /// The address of the page.
    pub(crate) address: SocketAddr,
    /// How long queries are still answered after the server was told to stop (`lameduck`).
    pub(crate) lame_duck: Duration,
}

/// Reads `health [ADDRESS] { lameduck DURATION }`.
pub(super) fn read(
    value: &mut Option<HealthOptions>,
    directive: &Directive,
    _: &mut Scope<'_>,
) -> Result<(), Fault> {
    let address = directive.listen(directive.at_most_one("ADDRESS")?.unwrap_or(":8080"))?;
    let mut lame_duck = Duration::ZERO;
    for option in &directive.options {
        match &*option.name {
            "lameduck" => lame_duck = option.duration(&option.exactly::<1>("DURATION")?[0])?,
            _ => return Err(directive.unknown_option(option, &["lameduck"])),
        }
    }
    *value = Some(HealthOptions { address, lame_duck });
    Ok(())
}

//! Directives that CoreDNS needs and this server does not.

use super::value::Value;
use crate::corefile::{Directive, Fault, Scope};

/// A directive of which nothing is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct NoEffect;

impl Value for NoEffect {
    fn is_enabled(&self) -> bool {
        false
    }
}

/// Reads a directive that changes nothing, with a warning.
pub(super) fn read(_: &mut NoEffect, directive: &Directive, scope: &mut Scope<'_>) -> Result<(), Fault> {
    scope.warn(directive.line, &format!("{} has no effect here", directive.name));
    Ok(())
}

/// Reads a directive that asks for what this server always does: `any` answers ANY with one small record (RFC 8482).
pub(super) fn read_bare(_: &mut NoEffect, directive: &Directive, _: &mut Scope<'_>) -> Result<(), Fault> {
    directive.bare()
}

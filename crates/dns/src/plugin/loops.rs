//! `loop`: upstream resolvers that send their queries back to this server are found and left out.

use crate::corefile::{Directive, Fault, Scope};

/// Reads `loop`.
pub(super) fn read(value: &mut bool, directive: &Directive, _: &mut Scope<'_>) -> Result<(), Fault> {
    directive.bare()?;
    *value = true;
    Ok(())
}

//! The syntax of Corefiles: a text becomes server blocks of directives, whatever these mean.
//!
//! | file | step |
//! |---|---|
//! | `lex.rs` | text to words, with variables of the environment filled in |
//! | `syntax.rs` | words to server blocks and directives, with snippets and imported files put in |
//! | `argument.rs`, `zones.rs` | arguments to numbers, durations, addresses and zones |

mod argument;
mod fault;
mod lex;
mod scope;
mod syntax;
mod zones;

pub use fault::Fault;
pub(crate) use scope::Scope;
pub(crate) use syntax::{Directive, blocks};
pub(crate) use zones::{ZoneError, zones};

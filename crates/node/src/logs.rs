//! Containers' logs: the lines that the runtime writes, and reading them.

mod line;
mod read;

pub(crate) use read::{Growth, Options, Reader};

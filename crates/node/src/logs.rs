//! Containers' logs: the lines that the runtime writes, and reading them.

mod follow;
mod line;
mod read;

pub(crate) use follow::{Follower, set_aside_from};
#[cfg(feature = "fuzz")]
pub(crate) use line::Line;
pub(crate) use read::{Options, Reader};

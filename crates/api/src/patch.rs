//! The patches: JSON merge patch, JSON patch, strategic merge patch.
//!
//! They work on values; the caller conforms the result to the schema afterwards
//! ([`crate::codec::conform`]), which reports what a patch brought in that the kind does not have.

mod json_patch;
mod merge;
mod strategic;

pub use json_patch::json_patch;
pub use merge::merge;
pub use strategic::strategic;

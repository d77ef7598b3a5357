//! The messages of the Container Runtime Interface, package `runtime.v1`, as far as the node agent uses them.
//!
//! Fields that the agent neither sets nor reads are left out: protobuf keeps such messages compatible.
//! Names and tags are those of `api.proto` in kubernetes/cri-api.
#![allow(missing_docs, reason = "names, units and meaning are those of the CRI's api.proto")]

mod common;
mod container;
mod image;
mod sandbox;
mod stream;

pub use common::*;
pub use container::*;
pub use image::*;
pub use sandbox::*;
pub use stream::*;

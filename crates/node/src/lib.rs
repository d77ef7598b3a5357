//! Pods on a machine: CRI, pod network, probes, logs and exec.

pub mod cidr;
pub mod cni;
pub mod config;
pub mod containerd;
pub mod cri;
pub mod image;

pub use remove::remove_all;

mod error;
mod remove;
mod routes;
mod sys;

pub use config::Config;
pub use error::Error;

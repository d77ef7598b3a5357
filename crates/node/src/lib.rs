//! Pods on a machine: CRI, pod network, probes, logs and exec.

pub mod cidr;
pub mod cni;
pub mod config;
pub mod containerd;
pub mod cri;
pub mod image;

pub use agent::run;
pub use config::{Config, DEFAULT_PORT};
pub use error::Error;
pub use remove::remove_all;

mod agent;
mod error;
mod logs;
mod machine;
mod network;
mod pod;
mod recorder;
mod register;
mod remove;
mod routes;
mod server;
mod sys;

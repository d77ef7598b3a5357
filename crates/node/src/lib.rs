//! Pods on a machine: CRI, pod network, probes, logs and exec.
//!
//! [`run`] is the node agent: it registers a Node, watches the Pods that are bound to it, runs them through a
//! container runtime that speaks the CRI (its own containerd, unless another is given), reports their status
//! and serves the kubelet's API for logs, exec, attach and port-forward. [`cni::main`] is the same program as
//! CNI plugin, [`remove_all`] takes everything away again, and [`image::write_stand_ins`] makes images for
//! machines without a registry.
//!
//! How it is built:
//! * `agent` starts the parts and ends them; nothing else knows all of them.
//! * `pod` has a worker for each pod. What to do next (`pod::plan`) and what to report (`pod::status`) are
//!   pure functions; everything else about a pod is either one of their inputs or a step they ask for.
//! * The runtime is only ever reached through [`cri`], the kernel's network through `network`.
//! * Nothing is global: several nodes run in one process, each on a thread in its own network namespace, with
//!   its own folders, sockets and cgroups.
//! * No part polls what has an event; where there is none, a comment says so.

pub mod config;
pub mod containerd;
pub mod cri;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod image;

pub use agent::run;
pub use config::{Config, DEFAULT_PORT, is_data_dir};
pub use error::Error;
pub use network::cni;
pub use remove::remove_all;

mod agent;
mod disk;
mod error;
mod health;
mod logs;
mod machine;
mod mounts;
mod network;
mod pod;
mod register;
mod remove;
mod server;
mod spdy;
mod sys;

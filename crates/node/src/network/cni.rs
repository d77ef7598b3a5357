//! The pod network as a CNI plugin: a bridge per node, a veth pair per pod, an address from the podCIDR.
//!
//! containerd runs this program as plugin for every sandbox (CNI specification 1.1.0). The types `portolan`
//! and `loopback` are both ours; the second only brings a sandbox's `lo` up.

use std::{
    io::{self, Read},
    process::ExitCode,
};

pub mod ipam;

mod bridge;
mod command;
pub(crate) mod netns;
mod protocol;

pub use protocol::{BRIDGE, NetworkConfig, PLUGIN, config_list};

pub(crate) use bridge::{delete_bridge, loopback_up, netlink};

/// The largest configuration that is read from standard input, in bytes.
const MAX_CONFIG: u64 = 1 << 20;

/// The plugin's entry point: reads the request from the environment and standard input, prints the result.
/// The binary calls it when `CNI_COMMAND` is set.
pub fn main() -> ExitCode {
    let mut config = String::new();
    let read = io::stdin().take(MAX_CONFIG).read_to_string(&mut config);
    let answer = match read {
        Ok(_) => command::run(|name| std::env::var(name).ok(), &config),
        Err(error) => Err(protocol::Failure::io(format!("cannot read the configuration: {error}"))),
    };
    match answer {
        Ok(result) => {
            if !result.is_null() {
                println!("{result}");
            }
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{}", failure.to_json(&config));
            ExitCode::FAILURE
        }
    }
}

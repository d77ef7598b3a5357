//! The portolan binary: every part of the system as a command, and `up` for all of them.

mod commands;
mod log;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A Kubernetes Service system: one stable address and name for a changing set of pods.
#[derive(Parser)]
#[command(name = "portolan", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the Kubernetes API
    Apiserver(commands::apiserver::Options),
}

fn main() -> ExitCode {
    log::start();
    let done = match Cli::parse().command {
        Command::Apiserver(options) => commands::apiserver::main(options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("portolan: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! The portolan binary: every part of the system as a command, and `up` for all of them.

mod cluster;
mod commands;
mod host;
mod kubeconfig;
mod log;
#[cfg(test)]
mod reference;
mod shutdown;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

const ENVIRONMENT: &str = "\
Environment:
  PORTOLAN_LOG   what is logged to standard error, for example `debug` or `info,proxy=trace`
  KUBECONFIG     the cluster of commands that have --kubeconfig
  NO_COLOR       if set, nothing is coloured";

/// A Kubernetes Service system: one stable address and name for a changing set of pods.
#[derive(Parser)]
#[command(name = "portolan", version, propagate_version = true, arg_required_else_help = true, after_help = ENVIRONMENT)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a whole cluster: on this machine, or with --sandbox in namespaces of its own
    Up(cluster::Options),
    /// Play the Service tutorial, step by step, on a cluster of its own
    Demo(commands::demo::Options),
    /// Remove a cluster and every trace of it
    Down(cluster::Which),
    /// Give images to a cluster that has no registry
    Image(commands::image::Options),
    /// List the clusters of this machine
    List,
    /// Say how a cluster is: its parts, its nodes, and what is wrong
    Status(cluster::Which),
    /// Serve the Kubernetes API
    Apiserver(commands::apiserver::Options),
    /// Run the controllers: workloads, endpoints, scheduling, garbage collection
    Controllers(commands::parts::ControllerOptions),
    /// Run the pods that are assigned to this machine
    Node(commands::parts::NodeOptions),
    /// Bring connections to Services to their endpoints: kube-proxy's work, or a look at it before anything is done
    Proxy(commands::proxy::Options),
    /// Say which endpoints a packet may reach, and why
    Explain(commands::explain::Options),
    /// Show live packets of a Service, and the rules they take
    Trace(commands::trace::Options),
    /// Serve the cluster's names
    Dns(commands::dns::DnsOptions),
    /// Print what makes a shell complete these commands
    Completions(commands::manual::CompletionOptions),
    /// Write manual pages of all commands
    Man(commands::manual::ManOptions),
}

fn main() -> ExitCode {
    // The container runtime calls this program as its network plugin (CNI specification, section 2).
    if std::env::var_os("CNI_COMMAND").is_some() {
        return node::cni::main();
    }
    let cli = Cli::parse();
    log::start(matches!(
        cli.command,
        Command::Demo(_)
            | Command::Down(_)
            | Command::Explain(_)
            | Command::Image(_)
            | Command::Trace(_)
            | Command::List
            | Command::Status(_)
            | Command::Completions(_)
            | Command::Man(_)
    ));
    let done = match cli.command {
        Command::Up(options) => commands::up::main(&options),
        Command::Demo(options) => commands::demo::main(&options),
        Command::Down(options) => commands::down::main(&options),
        Command::Image(options) => commands::image::main(&options),
        Command::List => commands::list::main(),
        Command::Status(options) => commands::status::main(&options),
        Command::Completions(options) => commands::manual::completions(&options, Cli::command()),
        Command::Man(options) => commands::manual::pages(&options, Cli::command()),
        Command::Apiserver(options) => commands::apiserver::main(&options),
        Command::Controllers(options) => commands::parts::controllers(&options),
        Command::Node(options) => commands::parts::node(options),
        Command::Proxy(options) => commands::proxy::main(&options),
        Command::Explain(options) => commands::explain::main(&options),
        Command::Trace(options) => commands::trace::main(&options),
        Command::Dns(options) => commands::dns::dns(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("portolan: {error:#}");
            ExitCode::FAILURE
        }
    }
}

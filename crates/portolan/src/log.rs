//! Where log lines go: standard error, at the level that `PORTOLAN_LOG` names.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

/// The variable that chooses what is logged, for example `debug` or `info,proxy=trace`.
const VARIABLE: &str = "PORTOLAN_LOG";
/// What is logged without it: the parts say what they do, libraries only what goes wrong.
const DEFAULT: &str = "warn,portolan=info,apiserver=info,controllers=info,dns=info,node=info,proxy=info";

/// What is logged by commands that talk to a person.
const QUIET: &str = "warn";

/// Starts logging for this process.
pub(crate) fn start(quiet: bool) {
    let default = if quiet { QUIET } else { DEFAULT };
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(default));
    let colours = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(colours).init();
}

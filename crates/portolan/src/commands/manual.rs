//! `portolan completions` and `portolan man`: what the command line's own table of commands and flags gives to
//! shells and to man(1).

use std::fs;
use std::io::stdout;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Command};
use clap_complete::Shell;

/// The options of `portolan completions`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  portolan completions bash > /etc/bash_completion.d/portolan\n  source <(portolan completions zsh)"
)]
pub(crate) struct CompletionOptions {
    /// The shell
    shell: Shell,
}

/// The options of `portolan man`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  portolan man /usr/local/share/man/man1")]
pub(crate) struct ManOptions {
    /// Where the pages go: portolan.1, portolan-up.1 and so on
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Prints the completions for a shell.
pub(crate) fn completions(options: &CompletionOptions, mut program: Command) -> anyhow::Result<()> {
    clap_complete::generate(options.shell, &mut program, "portolan", &mut stdout());
    Ok(())
}

/// Writes a page for the program and one for each of its commands.
pub(crate) fn pages(options: &ManOptions, program: Command) -> anyhow::Result<()> {
    let folder = &options.folder;
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    clap_mangen::generate_to(program.disable_help_subcommand(true), folder)
        .with_context(|| format!("no manual pages could be written to {}", folder.display()))?;
    println!("the manual pages are in {}", folder.display());
    Ok(())
}

//! `docs/reference/commands.md`, made from the table of commands and flags that the program itself uses.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Arg, Command, CommandFactory};

use crate::Cli;

const HEAD: &str = "\
# Commands

Made from the program itself; after a change of a flag `UPDATE_DOCS=1 cargo test --package portolan reference` writes it
anew. `portolan COMMAND --help` prints the same, `portolan man DIR` writes it as manual pages.
";

/// The page: a section for each command.
fn page() -> String {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let mut text = HEAD.to_owned();
    section(&mut text, &mut program);
    text
}

fn section(text: &mut String, command: &mut Command) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    write!(text, "\n## {name}\n\n{}\n\n    {usage}\n", sentence(&about)).unwrap();
    let arguments: Vec<&Arg> = command.get_arguments().filter(|argument| is_shown(argument)).collect();
    if !arguments.is_empty() {
        text.push_str("\n| option | meaning | default |\n|---|---|---|\n");
        arguments.iter().for_each(|argument| row(text, argument));
    }
    if let Some(after) = command.get_after_help() {
        write!(text, "\n```\n{after}\n```\n").unwrap();
    }
    command.get_subcommands_mut().for_each(|command| section(text, command));
}

/// Help and version are with every command and are left out.
fn is_shown(argument: &Arg) -> bool {
    !argument.is_hide_set() && !matches!(argument.get_id().as_str(), "help" | "version")
}

fn row(text: &mut String, argument: &Arg) {
    let short = argument.get_short().map(|short| format!("-{short}"));
    let long = argument.get_long().map(|long| format!("--{long}"));
    let aliases = argument.get_visible_aliases().unwrap_or_default();
    let aliases = aliases.into_iter().map(|alias| format!("--{alias}"));
    let names: Vec<String> = short.into_iter().chain(long).chain(aliases).collect();
    let takes_value = argument.get_action().takes_values();
    let values = argument.get_value_names().unwrap_or_default().join(" ");
    let option = match takes_value {
        true if names.is_empty() => values,
        true => format!("{} {values}", names.join(", ")),
        false => names.join(", "),
    };
    let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let choices = argument.get_possible_values();
    let choices: Vec<&str> =
        choices.iter().filter(|choice| !choice.is_hide_set()).map(PossibleValue::get_name).collect();
    let choices = match takes_value && !choices.is_empty() {
        true => format!(" One of {}.", choices.join(", ")),
        false => String::new(),
    };
    let environment = argument.get_env().map(|name| format!(" From the environment: {}.", name.display()));
    let (help, stated) = split_default(&help);
    let values = argument.get_default_values().iter().map(|value| value.display().to_string());
    let default = match stated {
        Some(stated) => stated.to_owned(),
        None if takes_value => {
            values.reduce(|all, value| all + "," + &value).map(|all| format!("`{all}`")).unwrap_or_default()
        }
        None => String::new(),
    };
    let meaning = format!("{}{choices}{}", sentence(help), environment.unwrap_or_default());
    let cells = [format!("`{option}`"), meaning, default];
    writeln!(text, "| {} |", cells.map(|cell| cell.replace('|', "\\|").replace('\n', " ")).join(" | "))
        .unwrap();
}

/// A default that no value states stands at the end of the help.
fn split_default(help: &str) -> (&str, Option<&str>) {
    match help.split_once(" [default: ") {
        Some((help, default)) => (help, Some(default.trim_end_matches(']'))),
        None => (help, None),
    }
}

/// Ends a text with a full stop.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.ends_with(['.', '!', '?', '"']) { text.to_owned() } else { format!("{text}.") }
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/commands.md")
}

#[test]
fn the_reference_of_commands_is_what_the_program_has() {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(file(), page()).unwrap();
    }
    let written = fs::read_to_string(file()).unwrap();
    let (page, hint) = (page(), "UPDATE_DOCS=1 cargo test --package portolan reference writes it anew");
    let different = page.lines().zip(written.lines()).find(|(now, then)| now != then);
    assert!(page == written, "docs/reference/commands.md is not current: {different:?}; {hint}");
}

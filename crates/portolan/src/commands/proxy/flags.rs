//! kube-proxy's flags, made from the proxy's table of settings.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use proxy::configuration::{Configuration, Kind, Meaning, SETTINGS, Setting};

/// The flags that were given, each with its text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags(Vec<(&'static Setting, String)>);

impl Flags {
    /// Sets what the flags say.
    pub(crate) fn apply(&self, configuration: &mut Configuration) -> anyhow::Result<()> {
        for (setting, text) in &self.0 {
            configuration.set_flag(setting, text)?;
        }
        Ok(())
    }
}

fn flags() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(|setting| !setting.flag.is_empty())
}

fn arg(setting: &'static Setting) -> Arg {
    let value = match setting.kind {
        Kind::Bool => "BOOL",
        Kind::Int | Kind::Number => "N",
        Kind::Duration => "TIME",
        Kind::List => "LIST",
        Kind::Text | Kind::Any => "TEXT",
    };
    let arg = Arg::new(setting.flag)
        .value_name(value)
        .help(setting.help)
        .action(ArgAction::Append)
        .allow_hyphen_values(true)
        .hide(setting.meaning != Meaning::Used)
        .help_heading("Settings, as in a KubeProxyConfiguration");
    let arg = match setting.flag {
        "v" => arg.short('v').long("v"),
        flag => arg.long(flag),
    };
    match setting.kind {
        // --flag alone means true, as in Go.
        Kind::Bool => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        _ => arg.num_args(1),
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        command.args(flags().map(arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Self::default();
        given.update_from_arg_matches(matches)?;
        Ok(given)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        // The last of several wins, as in Go.
        let given = |setting: &&'static Setting| {
            matches.get_many::<String>(setting.flag).and_then(Iterator::last).cloned()
        };
        self.0 = flags().filter_map(|setting| Some((setting, given(&setting)?))).collect();
        Ok(())
    }
}

//! kube-proxy's flags, made from the proxy's table of settings.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use proxy::configuration::{Configuration, Kind, Meaning, Preset, SETTINGS, Setting};

/// The flags that -h shows; --help has all.
const FIRST: [&str; 5] =
    ["kubeconfig", "proxy-mode", "cluster-cidr", "nodeport-addresses", "metrics-bind-address"];

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
    let arg = Arg::new(setting.flag)
        .value_name(value_name(setting))
        .help(help(setting))
        .action(ArgAction::Append)
        .allow_hyphen_values(true)
        .hide(setting.meaning != Meaning::Used)
        .hide_short_help(!FIRST.contains(&setting.flag))
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

fn value_name(setting: &Setting) -> &'static str {
    match (setting.kind, setting.flag) {
        (Kind::Bool, _) => "BOOL",
        (Kind::Int | Kind::Number, _) => "N",
        (Kind::Duration, _) => "TIME",
        (Kind::List, _) => "LIST",
        (Kind::Text | Kind::Any, "kubeconfig") => "FILE",
        (Kind::Text | Kind::Any, "cluster-cidr") => "RANGES",
        (Kind::Text | Kind::Any, flag) if flag.ends_with("-address") => "ADDRESS",
        (Kind::Text | Kind::Any, flag) if flag.ends_with("-mode") => "MODE",
        (Kind::Text | Kind::Any, _) => "TEXT",
    }
}

/// What the setting is for, with its default unless that says nothing.
fn help(setting: &Setting) -> String {
    let default = match setting.default {
        Preset::Int(number) => number.to_string(),
        Preset::Text(text) | Preset::Duration(text) => text.to_owned(),
        Preset::Bool(true) => "true".to_owned(),
        Preset::DurationOrZero(text) if text != "0s" => text.to_owned(),
        Preset::None | Preset::List | Preset::Bool(false) | Preset::DurationOrZero(_) => String::new(),
    };
    match default.is_empty() || setting.help.contains("[default") {
        true => setting.help.to_owned(),
        false => format!("{} [default: {default}]", setting.help),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_the_default_of_each_setting_that_has_one() {
        let of = |flag: &str| help(SETTINGS.iter().find(|setting| setting.flag == flag).unwrap());
        assert!(of("metrics-bind-address").ends_with("[default: 127.0.0.1:10249]"));
        assert!(of("conntrack-tcp-timeout-close-wait").ends_with("[default: 1h]"));
        assert!(!of("masquerade-all").contains("default"));
        assert_eq!(of("nodeport-addresses").matches("[default").count(), 1);
    }

    #[test]
    fn the_flags_that_are_shown_first_are_used_ones() {
        let is_used = |flag: &&str| {
            SETTINGS.iter().any(|setting| setting.flag == *flag && setting.meaning == Meaning::Used)
        };
        assert!(FIRST.iter().all(is_used));
    }
}

//! A cluster and the rules that kube-proxy made of it, kept in files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use proxy::configuration::Configuration;
use proxy::{Config, Still};
use serde_json::Value;
use service::manifest::Objects;

use crate::generate::NODE_IPS;

/// One recording.
#[derive(Debug, Clone)]
pub struct Recording {
    /// The objects, a `List`.
    pub objects: Value,
    /// The KubeProxyConfiguration.
    pub settings: String,
    /// What kube-proxy loaded: `iptables-save`, `ip6tables-save`, or `nft list ruleset`.
    pub rules: Vec<(String, String)>,
}

const OBJECTS: &str = "objects.json";
const SETTINGS: &str = "settings.yaml";

impl Recording {
    /// Writes it to a folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join(OBJECTS), format!("{}\n", self.objects))?;
        fs::write(folder.join(SETTINGS), &self.settings)?;
        for (name, text) in &self.rules {
            fs::write(folder.join(name), text)?;
        }
        Ok(())
    }

    /// Reads it.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let text = |name: &str| {
            fs::read_to_string(folder.join(name)).with_context(|| format!("{}", folder.join(name).display()))
        };
        let mut rules = Vec::new();
        for name in ["iptables-save", "ip6tables-save", "nft"] {
            if let Ok(text) = text(name) {
                rules.push((name.to_owned(), text));
            }
        }
        Ok(Self { objects: serde_json::from_str(&text(OBJECTS)?)?, settings: text(SETTINGS)?, rules })
    }

    /// All recordings of kube-proxy in a folder, in order of name.
    pub fn all(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut folders: Vec<_> =
            entries.map(|entry| entry.path()).filter(|path| path.join(SETTINGS).exists()).collect();
        folders.sort();
        folders
    }

    /// The rules of this name.
    pub fn rules(&self, name: &str) -> Option<&str> {
        self.rules.iter().find(|(other, _)| other == name).map(|(_, text)| text.as_str())
    }

    /// The objects as our proxy sees them, with the same settings.
    ///
    /// # Errors
    /// When the settings or the objects cannot be read.
    pub fn still(&self) -> anyhow::Result<Still> {
        let mut objects = Objects::default();
        objects.read(&self.objects.to_string())?;
        let interfaces = NODE_IPS.iter().filter_map(|text| text.parse().ok()).collect();
        Ok(Still::new(objects.finish(), self.config()?, interfaces))
    }

    /// The settings.
    ///
    /// # Errors
    /// As [`Recording::still`].
    pub fn config(&self) -> anyhow::Result<Config> {
        let mut configuration = Configuration::default();
        configuration.read(&self.settings)?;
        Ok(configuration.config(String::new)?)
    }
}

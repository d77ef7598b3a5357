//! Looking at the Corefile again, and at what it imports.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::Config;
use crate::metrics::Metrics;

/// Looks at the Corefile again and again.
#[derive(Debug)]
pub(super) struct Reload {
    path: Option<PathBuf>,
    /// What it and its imports said last that could be read.
    known: String,
    /// Why they cannot be read now, which was told.
    trouble: Option<String>,
}

impl Reload {
    /// Looks whether a file says something else than the configuration that was read from it.
    pub(super) fn new(path: Option<PathBuf>, config: &Config) -> Self {
        Self { path, known: config.text.clone(), trouble: None }
    }

    /// Waits until the Corefile says something new that can be followed, if it is to be looked at, which is each
    /// time that `every` has passed. A Corefile that cannot be followed is told once. What was seen is not lost when
    /// nobody waits any more.
    pub(super) async fn changed(&mut self, every: Option<Duration>, metrics: &Metrics) -> Config {
        let (Some(path), Some(every)) = (self.path.clone(), every) else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(every).await;
            if let Some(config) = self.look(&path, metrics) {
                return config;
            }
        }
    }

    fn look(&mut self, path: &Path, metrics: &Metrics) -> Option<Config> {
        let read = std::fs::read_to_string(path).map_err(|error| error.to_string()).and_then(|text| {
            let folder = path.parent().unwrap_or(Path::new("."));
            Config::from_corefile(&text, folder).map_err(|fault| fault.to_string())
        });
        match read {
            Ok(config) => {
                self.trouble = None;
                let changed = config.text != self.known;
                self.known.clone_from(&config.text);
                changed.then(|| {
                    tracing::info!(path = %path.display(), "the Corefile has changed");
                    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                    config
                })
            }
            Err(why) => {
                if self.trouble.as_ref() != Some(&why) {
                    metrics.reload_failed.inc();
                    tracing::error!(path = %path.display(), why, "the Corefile cannot be followed; going on as before");
                    self.trouble = Some(why);
                }
                None
            }
        }
    }
}

//! Looking at the Corefile again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::Config;
use crate::metrics::Metrics;

/// Looks at the Corefile again and again.
#[derive(Debug)]
pub(super) struct Reload {
    path: Option<PathBuf>,
    /// What it said last, whether that can be followed or not; `None` while it cannot be read.
    known: Option<String>,
}

impl Reload {
    /// Looks whether a file says something else than the configuration that was read from it.
    pub(super) fn new(path: Option<PathBuf>, config: &Config) -> Self {
        Self { path, known: Some(config.text.clone()) }
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
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                if self.known.take().is_some() {
                    tracing::error!(path = %path.display(), %error, "the Corefile cannot be read; going on as before");
                }
                return None;
            }
        };
        if self.known.as_ref() == Some(&text) {
            return None;
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        let read = Config::from_corefile(&text, folder);
        self.known = Some(text);
        match read {
            Ok(config) => {
                tracing::info!(path = %path.display(), "the Corefile has changed");
                config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                Some(config)
            }
            Err(fault) => {
                metrics.reload_failed.inc();
                tracing::error!(path = %path.display(), %fault, "the Corefile cannot be followed; going on as before");
                None
            }
        }
    }
}

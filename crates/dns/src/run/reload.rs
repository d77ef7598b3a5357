//! Reading the Corefile and its imports again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::config::Config;
use crate::metrics::Metrics;

/// The Corefile, and what was read of it last.
#[derive(Debug)]
pub(super) struct Reload {
    path: Option<PathBuf>,
    /// For each message it is read again at once.
    asked: Option<mpsc::Receiver<()>>,
    /// The last text of it and its imports that could be read.
    known: String,
    /// The error that was logged last, if it could not be read since.
    trouble: Option<String>,
}

impl Reload {
    /// Starts with the configuration that was read from the file.
    pub(super) fn new(path: Option<PathBuf>, asked: Option<mpsc::Receiver<()>>, config: &Config) -> Self {
        Self { path, asked, known: config.text.clone(), trouble: None }
    }

    /// Waits until the Corefile has changed and can be read, and returns the new configuration. It is read in the
    /// interval `every`, and for each message. An error is logged once. Cancel safe.
    pub(super) async fn changed(&mut self, every: Option<Duration>, metrics: &Metrics) -> Config {
        loop {
            let asked = tokio::select! {
                () = after(every) => false,
                () = asked(&mut self.asked) => true,
            };
            let Some(path) = self.path.clone() else {
                tracing::info!("there is no Corefile to read again");
                continue;
            };
            if asked {
                // After a message, an error is logged even if it was logged before.
                self.trouble = None;
            }
            match self.look(&path, metrics) {
                Some(config) => return config,
                None if asked && self.trouble.is_none() => {
                    tracing::info!(path = %path.display(), "the Corefile has not changed");
                }
                None => {}
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
                    tracing::error!(path = %path.display(), why, "the Corefile cannot be followed; the configuration before it stays in use");
                    self.trouble = Some(why);
                }
                None
            }
        }
    }
}

/// Waits for `pause`; for ever if there is none.
async fn after(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}

/// Waits for a message; for ever if there can be none any more.
async fn asked(requests: &mut Option<mpsc::Receiver<()>>) {
    if let Some(receiver) = requests
        && receiver.recv().await.is_some()
    {
        return;
    }
    *requests = None;
    std::future::pending::<()>().await;
}

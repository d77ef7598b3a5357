//! Looking at the Corefile again.

use std::path::Path;
use std::time::Duration;

use crate::config::Config;
use crate::metrics::Metrics;

/// Waits until the Corefile says something new that can be followed, if it is to be looked at. A Corefile that
/// cannot be followed is told once and changes nothing.
pub(super) async fn changed(path: Option<&Path>, config: &Config, metrics: &Metrics) -> Config {
    let every = config.blocks.iter().find_map(|block| block.plugins.reload);
    let (Some(path), Some(every)) = (path, every) else { return std::future::pending().await };
    wait(path, every, metrics).await
}

async fn wait(path: &Path, every: Duration, metrics: &Metrics) -> Config {
    let mut known = std::fs::read_to_string(path).ok();
    loop {
        tokio::time::sleep(every).await;
        let text = match std::fs::read_to_string(path) {
            Ok(text) if known.as_ref() != Some(&text) => text,
            Ok(_) => continue,
            Err(error) => {
                if known.take().is_some() {
                    tracing::error!(path = %path.display(), %error, "the Corefile cannot be read; going on as before");
                }
                continue;
            }
        };
        let folder = path.parent().unwrap_or(Path::new("."));
        match Config::from_corefile(&text, folder) {
            Ok(config) => {
                tracing::info!(path = %path.display(), "the Corefile has changed");
                config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                return config;
            }
            Err(fault) => {
                metrics.reload_failed.inc();
                tracing::error!(path = %path.display(), %fault, "the Corefile cannot be followed; going on as before");
            }
        }
        known = Some(text);
    }
}

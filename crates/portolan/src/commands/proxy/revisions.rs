//! The configuration file as it changes while the proxy runs.

use std::path::PathBuf;
use std::time::Duration;

use futures::{Stream, stream};
use proxy::Revision;
use proxy::configuration::Configuration;

use super::cluster;
use super::settings::Settings;

/// How often the file is read. It is small, and reading it finds every way in which files change: written in place,
/// replaced, or behind a link that is, as in the volume of a ConfigMap.
const PERIOD: Duration = Duration::from_secs(1);

/// Each configuration that the file holds from now on, with the flags before it, or why it cannot be used. The proxy
/// began with this text and configuration.
pub(super) fn revisions(
    settings: &Settings,
    text: Option<String>,
    running: &Configuration,
) -> impl Stream<Item = Result<Revision, String>> {
    let file = settings.file().zip(text);
    let file = file.map(|(path, taken)| File { path: path.to_owned(), texts: Texts { taken, seen: None } });
    let state = (settings.clone(), running.kubeconfig(), file);
    stream::unfold(state, |(settings, kubeconfig, file)| async move {
        let mut file = file?;
        let text = file.changed().await;
        let read = settings.configuration_of(Some(&text)).and_then(|configuration| {
            let (config, duties) = (settings.config(&configuration)?, configuration.duties()?);
            Ok((configuration, config, duties))
        });
        let (configuration, config, duties) = match read {
            Ok(read) => read,
            Err(error) => return Some((Err(format!("{error:#}")), (settings, kubeconfig, Some(file)))),
        };
        let named = configuration.kubeconfig();
        let client = match named == kubeconfig {
            true => None,
            false => match cluster::client(&configuration).await {
                Ok(client) => Some(client),
                Err(error) => return Some((Err(format!("{error:#}")), (settings, kubeconfig, Some(file)))),
            },
        };
        super::settle(&duties);
        Some((Ok(Revision { client, config, duties }), (settings, named, Some(file))))
    })
}

/// A file that is watched.
#[derive(Debug)]
struct File {
    path: PathBuf,
    texts: Texts,
}

impl File {
    /// Waits until the file holds another text than before. One that cannot be read, as while it is being replaced,
    /// holds what it held.
    async fn changed(&mut self) -> String {
        loop {
            tokio::time::sleep(PERIOD).await;
            match tokio::fs::read_to_string(&self.path).await {
                Ok(text) => {
                    if let Some(text) = self.texts.look(text) {
                        return text;
                    }
                }
                Err(error) => tracing::debug!(%error, "the configuration file is not there"),
            }
        }
    }
}

/// The texts that a file held.
#[derive(Debug)]
struct Texts {
    taken: String,
    seen: Option<String>,
}

impl Texts {
    /// Looks at what the file holds; gives it back when it is new. A file that is written in place may be read half
    /// written, so a text counts when it was read twice in a row.
    fn look(&mut self, text: String) -> Option<String> {
        if self.seen.as_ref() == Some(&text) && self.taken != text {
            self.taken.clone_from(&text);
            return Some(text);
        }
        self.seen = Some(text);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_counts_once_when_it_was_read_twice_in_a_row() {
        let mut texts = Texts { taken: "a".to_owned(), seen: None };
        let looks = ["a", "a", "ab", "abc", "abc", "abc", "a", "a"].map(|text| texts.look(text.to_owned()));
        let new = |text: &str| Some(text.to_owned());
        assert_eq!(looks, [None, None, None, None, new("abc"), None, None, new("a")]);
    }
}

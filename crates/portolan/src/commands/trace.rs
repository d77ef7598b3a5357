//! `portolan trace`: live packets of one Service, with the rules they take.

use std::collections::HashMap;
use std::path::PathBuf;

use clap::Args;
use proxy::{Live, Sighting};
use service::ServiceName;

use super::parts;
use super::proxy::settings::Settings;
use super::proxy::write;
use crate::host;

const EXAMPLES: &str = "\
Examples:
  portolan trace --kubeconfig FILE web                 new connections to default/web, as they come
  portolan trace --kubeconfig FILE kube-system/kube-dns --count 3
  portolan trace -f objects.yaml --node N web

Needs root and nf_tables, whatever the mode; rules of iptables-legacy do not show.";

/// The options of `portolan trace`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The Service, as NAME or NAMESPACE/NAME
    service: String,
    /// Its namespace, if not given with the name
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// End after so many packets
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// Kubernetes objects in files or directories, in place of an API server; - for standard input
    #[arg(short, long, value_name = "FILE")]
    filename: Vec<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// `portolan trace`.
pub(crate) fn main(options: &Options) -> anyhow::Result<()> {
    host::require_root("trace")?;
    let name = match options.service.split_once('/') {
        Some((namespace, name)) => ServiceName::new(namespace, name),
        None => ServiceName::new(options.namespace.as_str(), options.service.as_str()),
    };
    parts::run(async {
        let still = options.settings.still(&options.filename, Vec::new()).await?;
        let mut live = Live::start(&still.sight(), &name)?;
        eprintln!("waiting for new connections to {name}; Ctrl-C ends");
        let follow = async {
            let mut seen = HashMap::new();
            loop {
                let sightings = live.next().await?;
                let text: String =
                    sightings.iter().filter_map(|sighting| line(sighting, &mut seen)).collect();
                write(&text)?;
                if options.count.is_some_and(|count| seen.len() >= count) {
                    return anyhow::Ok(());
                }
            }
        };
        tokio::select! {
            () = parts::stop() => Ok(()),
            result = follow => result,
        }
    })
}

/// A line for a packet that is new or has other addresses than before, and one for each rule it takes.
fn line(sighting: &Sighting, seen: &mut HashMap<u32, String>) -> Option<String> {
    match sighting {
        Sighting::Packet { id, source, destination, protocol } => {
            let protocol = match protocol {
                6 => "tcp".to_owned(),
                17 => "udp".to_owned(),
                132 => "sctp".to_owned(),
                other => format!("protocol {other}"),
            };
            let way = format!("{source} -> {destination}/{protocol}");
            let before = seen.insert(*id, way.clone());
            match before {
                None => Some(format!("{id:08x} {way}\n")),
                Some(before) if before != way => Some(format!("{id:08x} is now {way}\n")),
                Some(_) => None,
            }
        }
        Sighting::Step { id, place, rule, verdict } => {
            let verdict = verdict.as_ref().map(|verdict| format!(" => {verdict}")).unwrap_or_default();
            Some(format!("{id:08x}   {place}: {rule}{verdict}\n"))
        }
    }
}

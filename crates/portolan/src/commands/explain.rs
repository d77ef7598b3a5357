//! `portolan explain`: which endpoints a packet may reach, and why.

use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use proxy::explain::{Explanation, Model, Place, Verdict, destination, explain};
use proxy::{Still, Tracer};
use serde_json::{Value, json};

use super::parts;
use super::proxy::settings::Settings;
use super::proxy::write;

/// How the answer is printed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

const EXAMPLES: &str = "\
Examples:
  portolan explain -f objects.yaml --node N --from external --to 192.0.2.1:30080
  portolan explain --kubeconfig FILE --node N --from default/client --to default/web:80
  portolan explain -f objects.yaml --node N --from node --to 10.96.0.10:53/udp --proxy-mode ipvs -o json
  printf '10.244.1.5 10.96.0.1:443/tcp\\n' | portolan explain -f objects.yaml --node N --queries -

The objects are what `kubectl get svc,endpointslices,nodes,pods -A -o yaml` prints.";

/// The options of `portolan explain`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Who sends: a pod (NAMESPACE/NAME), a node, an IP address, or `external`, `pod`, `node` for any such
    #[arg(long, value_name = "SRC", required_unless_present = "queries")]
    from: Option<String>,
    /// Where to: ADDRESS:PORT, NAMESPACE/SERVICE:PORT or NODE:PORT; /udp or /sctp after it for other protocols
    #[arg(long, value_name = "DST:PORT", required_unless_present = "queries")]
    to: Option<String>,
    /// Answer many: `SRC DST:PORT/proto` a line, one JSON object a line; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "to"])]
    queries: Option<PathBuf>,
    /// Kubernetes objects in files or directories, in place of an API server; - for standard input
    #[arg(short, long, value_name = "FILE")]
    filename: Vec<PathBuf>,
    /// How to print the answer
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,
    #[command(flatten)]
    settings: Settings,
}

/// `portolan explain`.
pub(crate) fn main(options: &Options) -> anyhow::Result<()> {
    let still = parts::run(options.settings.still(&options.filename, Vec::new()))?;
    let sight = still.sight();
    let rules = proxy::compile(&sight)?;
    let tracer = rules.tracer();
    let model = Model::new(sight);
    if let Some(file) = &options.queries {
        return answer_all(file, &still, &*tracer, &model);
    }
    let (from, to) = (options.from.as_deref().unwrap_or_default(), options.to.as_deref().unwrap_or_default());
    let explanation = answer(&still, &*tracer, &model, from, to)?;
    write(&match options.output {
        Output::Text => text(from, to, &explanation),
        Output::Json => format!("{}\n", as_json(&explanation)),
    })
}

fn answer(
    still: &Still,
    tracer: &dyn Tracer,
    model: &Model<'_>,
    from: &str,
    to: &str,
) -> anyhow::Result<Explanation> {
    let (address, protocol) = destination(still, to)?;
    let packet = Place::read(from).packet(still, address, protocol)?;
    Ok(explain(tracer, model, &packet)?)
}

/// A line that cannot be answered says so in its own answer; the others are answered.
fn answer_all(file: &Path, still: &Still, tracer: &dyn Tracer, model: &Model<'_>) -> anyhow::Result<()> {
    let lines: Box<dyn BufRead> = match file.as_os_str() == "-" {
        true => Box::new(BufReader::new(std::io::stdin())),
        false => {
            let opened = std::fs::File::open(file);
            Box::new(BufReader::new(opened.with_context(|| format!("{} cannot be read", file.display()))?))
        }
    };
    let mut out = String::new();
    for line in lines.lines() {
        let line = line.with_context(|| format!("{} cannot be read", file.display()))?;
        let words: Vec<_> = line.split_whitespace().collect();
        let answer = match words.as_slice() {
            [] => continue,
            [comment, ..] if comment.starts_with('#') => continue,
            [from, to] => answer(still, tracer, model, from, to).map(|explanation| as_json(&explanation)),
            _ => Err(anyhow::anyhow!("{line:?} is no query; write SRC DST:PORT/proto")),
        };
        let answer = answer.unwrap_or_else(|error| json!({"error": format!("{error:#}")}));
        // Writing to a String does not fail.
        let _ = writeln!(out, "{answer}");
        if out.len() > 1 << 16 {
            write(&out)?;
            out.clear();
        }
    }
    write(&out)
}

fn as_json(explanation: &Explanation) -> Value {
    let endpoints: Vec<_> = explanation
        .endpoints
        .iter()
        .map(|share| {
            json!({
                "address": share.address.ip().to_string(), "port": share.address.port(),
                "probability": share.probability, "masquerade": share.masquerade,
            })
        })
        .collect();
    json!({"verdict": explanation.verdict.to_string(), "endpoints": endpoints, "reasons": explanation.reasons})
}

fn text(from: &str, to: &str, explanation: &Explanation) -> String {
    let mut text = match explanation.verdict {
        Verdict::Dnat => format!("{from} -> {to} goes to\n"),
        Verdict::Reject => {
            format!("{from} -> {to} is rejected: the sender is told at once that nobody is there\n")
        }
        Verdict::Drop => format!("{from} -> {to} is dropped: the sender waits in vain\n"),
        Verdict::Pass => {
            format!("{from} -> {to} is no business of the proxy's: it goes where it is routed\n")
        }
    };
    for share in &explanation.endpoints {
        text.push_str(&format!("  {share}\n"));
    }
    text.push_str("because\n");
    for reason in &explanation.reasons {
        text.push_str(&format!("  {reason}\n"));
    }
    text
}

//! One recording, checked in every way.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use nfnetlink::{Ruleset, Socket};
use proxy::iptables::{chain_name, endpoint_chain_name, hashed_name};
use proxy::nftables::Walker;
use proxy::xtables::port_name;
use proxy::xtables::text::Tables;
use proxy::xtables::trace::Walker as TablesWalker;
use proxy::{Branch, ModeName, Packet, Still, Touched, Tracer, Untraceable};
use service::Family;
use testbed::Namespace;

use crate::compare::{self, Differences, Outcome};
use crate::questions;
use crate::recording::Recording;

/// What came out.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// How many packets were asked about.
    pub packets: usize,
    /// How many rules were compared.
    pub rules: usize,
    /// What differs by mistake.
    pub differences: Differences,
    /// How often each difference occurred that is on purpose.
    pub wanted: BTreeMap<&'static str, usize>,
}

impl Verdicts {
    /// Adds what came out of another recording.
    pub fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.rules += other.rules;
        self.differences.extend(other.differences);
        for (reason, count) in other.wanted {
            *self.wanted.entry(reason).or_default() += count;
        }
    }
}

impl fmt::Display for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} packets, {} rules, {} differences", self.packets, self.rules, self.differences.len())?;
        for (reason, count) in &self.wanted {
            write!(f, "; {count} on purpose: {reason}")?;
        }
        Ok(())
    }
}

/// Compares packets by kube-proxy's rules and ours, and the rules themselves as the kernel of `namespace` shows them.
///
/// # Errors
/// When rules cannot be read or loaded.
pub fn all(recording: &Recording, namespace: &Namespace) -> anyhow::Result<Verdicts> {
    let still = recording.still()?;
    match still.sight().config.mode {
        ModeName::Nftables => nftables(recording, &still, namespace),
        _ => iptables(recording, &still, namespace),
    }
}

fn iptables(recording: &Recording, still: &Still, namespace: &Namespace) -> anyhow::Result<Verdicts> {
    let sight = still.sight();
    let mut verdicts = Verdicts::default();
    let mut walkers = Vec::new();
    // Ours go through the kernel as well: so the way they are loaded is checked too.
    namespace.run(|| -> anyhow::Result<()> {
        proxy::start(sight.config)?.sync(&sight, &Touched::Everything)?;
        Ok(())
    })??;
    for (family, program) in [(Family::V4, "iptables-save"), (Family::V6, "ip6tables-save")] {
        let text = recording.rules(program).with_context(|| format!("there is no {program}"))?;
        let theirs = Tables::parse(&rename(text, still))?;
        let ours = Tables::parse(&run(namespace, program, &[], "")?)?;
        verdicts.rules += theirs
            .iter()
            .flat_map(proxy::xtables::text::Table::chains)
            .map(|chain| chain.rules.len())
            .sum::<usize>();
        verdicts.differences.extend(compare::rules(&theirs, &ours));
        walkers.push((family, TablesWalker::new(&theirs, sight.node)));
    }
    namespace.run(proxy::cleanup_all)??;
    let compiled = proxy::compile(&sight)?;
    ask(&mut verdicts, still, &ByFamily(walkers), &*compiled.tracer(), |_, _, _| None);
    Ok(verdicts)
}

/// Renames the chains of ports without a name, which we hash with a colon after the Service's name.
fn rename(text: &str, still: &Still) -> String {
    let mut names = BTreeMap::new();
    for view in still.sight().all_ports().iter().filter(|view| view.port.name.is_empty()) {
        let (service, protocol) = (view.service.name(), view.port.protocol);
        let (theirs, ours) = (port_name(&service, ""), hashed_name(&service, ""));
        for prefix in ["KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-"] {
            names.insert(chain_name(prefix, &theirs, protocol), chain_name(prefix, &ours, protocol));
        }
        for endpoint in view.choice.cluster.endpoints.iter().chain(&view.choice.local.endpoints) {
            let name = |port: &str| endpoint_chain_name(port, protocol, endpoint.address);
            names.insert(name(&theirs), name(&ours));
        }
    }
    // A name may also end a quoted comment.
    let word = |word: &str| {
        let bare = word.trim_end_matches('"');
        names.get(bare).map_or_else(|| word.to_owned(), |name| word.replace(bare, name))
    };
    let line = |line: &str| {
        let mut renamed = line.split(' ').map(word).collect::<Vec<_>>().join(" ");
        if let Some(chain) = line.strip_prefix(':').and_then(|rest| rest.split(' ').next()) {
            renamed = renamed.replacen(chain, &word(chain), 1);
        }
        renamed
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

fn nftables(recording: &Recording, still: &Still, namespace: &Namespace) -> anyhow::Result<Verdicts> {
    let sight = still.sight();
    let mut verdicts = Verdicts::default();
    // kube-proxy's rules go through the kernel once more, since a kernel says more exactly what they are than a text.
    let text = recording.rules("nft").context("there is no nft")?;
    run(namespace, "nft", &["-f", "-"], text)?;
    let theirs = namespace.run(|| -> anyhow::Result<Vec<Ruleset>> {
        let mut socket = Socket::open()?;
        let tables = socket.tables()?.into_iter().filter(|table| table.name == "kube-proxy");
        let tables: Vec<_> = tables.collect();
        tables.iter().map(|table| Ok(socket.ruleset(table)?)).collect()
    })??;
    run(namespace, "nft", &["flush", "ruleset"], "")?;
    ensure!(!theirs.is_empty(), "the recording has no table of kube-proxy");
    verdicts.rules = theirs.iter().flat_map(Ruleset::chains).map(|chain| chain.rules.len()).sum();
    let walker = Walker::new(&theirs, sight.node);
    for table in &theirs {
        let family = if table.table().is_some_and(|table| table.family == nfnetlink::Family::Ip6) {
            Family::V6
        } else {
            Family::V4
        };
        let ours = proxy::nftables::kube_proxy::compile(&sight, family);
        verdicts.differences.extend(compare::lines(&table.to_string(), &ours.to_string()));
    }
    let compiled = proxy::compile(&sight)?;
    ask(&mut verdicts, still, &walker, &*compiled.tracer(), |packet, theirs, ours| {
        meets_itself(packet, theirs, ours).then_some("an endpoint without a node may be on this one")
    });
    Ok(verdicts)
}

/// Whether the outcomes differ only in that we masquerade an endpoint that is its own client.
fn meets_itself(packet: &Packet, theirs: &Outcome, ours: &Outcome) -> bool {
    let mut like_ours = theirs.clone();
    for share in like_ours.shares.iter_mut().filter(|share| share.address.ip() == packet.source) {
        share.masquerade = true;
    }
    like_ours == *ours
}

fn ask(
    verdicts: &mut Verdicts,
    still: &Still,
    theirs: &dyn Tracer,
    ours: &dyn Tracer,
    known: impl Fn(&Packet, &Outcome, &Outcome) -> Option<&'static str>,
) {
    let packets = questions::packets(still);
    let (differences, wanted) = compare::packets(&packets, theirs, ours, known);
    verdicts.packets += packets.len();
    verdicts.differences.extend(differences);
    verdicts.wanted.extend(wanted);
}

struct ByFamily(Vec<(Family, TablesWalker)>);

impl Tracer for ByFamily {
    fn trace(&self, packet: &Packet) -> Result<Vec<Branch>, Untraceable> {
        let family = Family::of(packet.destination.ip());
        self.0
            .iter()
            .find(|(other, _)| *other == family)
            .map_or_else(|| Ok(Vec::new()), |(_, walker)| walker.trace(packet))
    }
}

/// Runs a program in the namespace.
fn run(namespace: &Namespace, program: &str, arguments: &[&str], input: &str) -> anyhow::Result<String> {
    namespace.run(|| -> anyhow::Result<String> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{program} cannot be started"))?;
        child.stdin.take().context("no input")?.write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    })?
}

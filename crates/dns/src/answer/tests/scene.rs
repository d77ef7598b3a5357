//! A cluster made in a few lines, and replies as text.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use serde_json::{Value, json};
use service::Event;

use service::objects::Namespace;

use crate::answer::{AliasTarget, ClusterAnswer, ReplyOptions, answer};
use crate::client::{Client, Transport};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::names::{Input, Names};
use crate::plan::{Action, Chain, Plan, ServedZone};
use crate::plugin::kubernetes::KubernetesOptions;
use crate::plugin::{Parts, Plugins};
use crate::recursion::{self, Recursion};
use crate::wire::{HEADER, Name, Query, kind};
use crate::zone::{Table, View};

/// The time of all changes in a scene, in seconds since 1970.
pub(super) const NOW: u64 = 1_700_000_000;

/// A table of names with its objects, and a server block that answers from it.
pub(super) struct Scene {
    names: Names,
    table: Arc<Table>,
    plugins: Plugins,
    plan: Plan,
}

impl Scene {
    /// A cluster whose first lists are not complete.
    pub(super) fn unknown() -> Self {
        Self::unknown_with(|_| {})
    }

    fn unknown_with(change: impl FnOnce(&mut KubernetesOptions)) -> Self {
        let mut plugins = Config::of_cluster("cluster.local", &[]).unwrap().blocks.swap_remove(0).plugins;
        change(plugins.kubernetes.as_mut().unwrap());
        let table = Arc::new(Table::new());
        let cluster = Some(Arc::new(view(&table, &plugins)));
        let meters = recursion::RecursionMetrics::new(&Metrics::new(&[]));
        let setup = plugins.recursion(&[], "dns://:53");
        let recursion = Recursion::new(setup, &meters, &recursion::Loops::default());
        let reply_options = plugins.reply_options();
        let parts = Parts { cluster, imports: None, hosts: None, recursion, reply_options };
        let chain = Chain::new(&plugins, &parts);
        let entry = ServedZone { zone: Name::root(), chain: Arc::new(chain), counts: None, log: None };
        let plan = Plan::new(vec![entry]);
        Self { names: Names::new(Default::default(), false), table, plugins, plan }
    }

    /// A cluster with the namespaces `default` and `empty`, whose first lists are complete.
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    /// The same with other options of `kubernetes`.
    pub(super) fn with(change: impl FnOnce(&mut KubernetesOptions)) -> Self {
        let mut scene = Self::unknown_with(change);
        for name in ["default", "empty"] {
            scene.feed(Input::Namespace(Event::Apply(Namespace::named(name))));
        }
        scene.feed(Input::Namespace(Event::Synced));
        scene.feed(Input::Service(Event::Synced));
        scene.feed(Input::Slice(Event::Synced));
        scene
    }

    pub(super) fn feed(&mut self, input: Input) {
        self.names.take([input]).into_iter().for_each(|change| self.table.apply(change, NOW));
    }

    /// Adds a Service in the namespace `default`.
    pub(super) fn service(&mut self, name: &str, spec: Value) -> &mut Self {
        self.service_in("default", name, spec)
    }

    /// Adds a Service.
    pub(super) fn service_in(&mut self, namespace: &str, name: &str, spec: Value) -> &mut Self {
        let object = json!({"metadata": {"name": name, "namespace": namespace}, "spec": spec});
        self.feed(Input::Service(Event::Apply(serde_json::from_value(object).unwrap())));
        self
    }

    /// Adds an EndpointSlice of a Service in the namespace `default`.
    pub(super) fn slice(&mut self, name: &str, service: &str, ports: Value, endpoints: Value) -> &mut Self {
        let family = if endpoints.to_string().contains("::") { "IPv6" } else { "IPv4" };
        let labels = json!({"kubernetes.io/service-name": service});
        let object = json!({
            "metadata": {"name": name, "namespace": "default", "labels": labels},
            "addressType": family, "ports": ports, "endpoints": endpoints,
        });
        self.feed(Input::Slice(Event::Apply(serde_json::from_value(object).unwrap())));
        self
    }

    /// The reply to a question over TCP as lines: the status, then `section name type data`.
    pub(super) fn ask(&self, name: &str, kind: u16) -> Vec<String> {
        let (action, reply) = self.send(&query(name, kind), Transport::Tcp);
        assert_eq!(action, Action::Reply);
        read(&reply)
    }

    /// The data of the answer section, sorted.
    pub(super) fn answers(&self, name: &str, kind: u16) -> Vec<String> {
        let answers = self.ask(name, kind).into_iter().filter(|line| line.starts_with("answer"));
        let mut data: Vec<_> = answers.map(|line| line.splitn(4, ' ').nth(3).unwrap().to_owned()).collect();
        data.sort();
        data
    }

    /// The response code as text; NODATA is NOERROR without answer.
    pub(super) fn status(&self, name: &str, kind: u16) -> &'static str {
        let (_, reply) = self.send(&query(name, kind), Transport::Tcp);
        match (reply[3] & 0xF, reply[7], reply[9]) {
            (0, 0, 1) => "NODATA",
            (0, 1.., 0) => "NOERROR",
            (2, ..) => "SERVFAIL",
            (3, 0, 1) => "NXDOMAIN",
            (5, ..) => "REFUSED",
            other => panic!("rcode, answers and authorities do not belong together: {other:?}"),
        }
    }

    /// Handles a packet without waiting.
    pub(super) fn begin(&self, packet: &[u8], client: Client, reply: &mut Vec<u8>) -> Action {
        self.plan.begin(packet, client, reply).action
    }

    pub(super) fn send(&self, packet: &[u8], transport: Transport) -> (Action, Vec<u8>) {
        let mut reply = Vec::new();
        let client = Client { address: [192, 0, 2, 1].into(), port: 4711, transport };
        match self.plan.begin(packet, client, &mut reply).action {
            Action::Wait => {
                // There are no upstream resolvers, so nothing waits.
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(self.plan.finish(packet, client, &mut reply));
                (Action::Reply, reply)
            }
            action => (action, reply),
        }
    }

    /// The records of a zone transfer, as lines.
    pub(super) fn transfer(&self, zone: &str) -> Vec<String> {
        let packet = query(zone, kind::AXFR);
        let view = view(&self.table, &self.plugins);
        let messages = crate::plugin::transfer::messages(&view, &Query::decode(&packet).unwrap());
        let lines = messages.iter().flat_map(|message| read(message));
        lines.filter(|line| !line.starts_with("rcode")).collect()
    }

    /// The answer of the cluster alone to a query.
    pub(super) fn send_with_target(
        &self,
        packet: &[u8],
        external: AliasTarget<'_>,
    ) -> (ClusterAnswer, Vec<u8>) {
        let mut reply = Vec::new();
        let query = Query::decode(packet).unwrap();
        let options = ReplyOptions { recursion: false, balance: true };
        let view = view(&self.table, &self.plugins);
        (answer(&view, &query, 512, external, options, &mut reply), reply)
    }
}

fn view(table: &Arc<Table>, plugins: &Plugins) -> View {
    let servers = vec!["10.96.0.10".parse().unwrap(), "fd00::10".parse().unwrap()];
    View::new(table.clone(), plugins.kubernetes.as_ref().unwrap(), servers)
}

/// A query without EDNS. Its id is 0, so that addresses are not rotated.
pub(super) fn query(name: &str, kind: u16) -> Vec<u8> {
    let mut packet = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.push(0);
    packet.extend_from_slice(&kind.to_be_bytes());
    packet.extend_from_slice(&[0, 1]);
    packet
}

/// Adds an OPT record to a query.
pub(super) fn with_opt(mut packet: Vec<u8>, size: u16, version: u8) -> Vec<u8> {
    packet[11] += 1;
    packet.extend_from_slice(&[0, 0, 41]);
    packet.extend_from_slice(&size.to_be_bytes());
    packet.extend_from_slice(&[0, version, 0, 0, 0, 0]);
    packet
}

/// The records of a reply as lines. Checks that the counts of its header are right.
pub(super) fn read(reply: &[u8]) -> Vec<String> {
    let word = |at: usize| u16::from_be_bytes([reply[at], reply[at + 1]]);
    let mut lines = vec![format!("rcode {}", reply[3] & 0xF)];
    let mut at = HEADER;
    for _ in 0..word(4) {
        at = Name::read(reply, at).unwrap().1 + 4;
    }
    for (section, count) in [("answer", 6), ("authority", 8), ("additional", 10)] {
        for _ in 0..word(count) {
            let (name, head) = Name::read(reply, at).unwrap();
            let data = head + 10;
            at = data + usize::from(word(head + 8));
            let (kind, data) = text(reply, word(head), data, at);
            lines.push(format!("{section} {name} {kind} {data}"));
        }
    }
    assert_eq!(at, reply.len(), "the counts are those of the records");
    lines
}

fn text(reply: &[u8], kind: u16, at: usize, end: usize) -> (&'static str, String) {
    let name = |at| Name::read(reply, at).unwrap();
    let word = |at: usize| u16::from_be_bytes([reply[at], reply[at + 1]]);
    let bytes = &reply[at..end];
    match kind {
        kind::A => ("A", Ipv4Addr::from(<[u8; 4]>::try_from(bytes).unwrap()).to_string()),
        kind::AAAA => ("AAAA", Ipv6Addr::from(<[u8; 16]>::try_from(bytes).unwrap()).to_string()),
        kind::CNAME => ("CNAME", name(at).0.to_string()),
        kind::PTR => ("PTR", name(at).0.to_string()),
        kind::NS => ("NS", name(at).0.to_string()),
        kind::SRV => {
            let [priority, weight, port] = [0, 2, 4].map(|offset| word(at + offset));
            ("SRV", format!("{priority} {weight} {port} {}", name(at + 6).0))
        }
        kind::SOA => {
            let (server, next) = name(at);
            let (mailbox, next) = name(next);
            let numbers = reply[next..end].chunks(4).map(|n| u32::from_be_bytes(n.try_into().unwrap()));
            let numbers: Vec<_> = numbers.map(|number| number.to_string()).collect();
            ("SOA", format!("{server} {mailbox} {}", numbers.join(" ")))
        }
        kind::TXT => ("TXT", String::from_utf8(bytes[1..].to_vec()).unwrap()),
        kind::HINFO => ("HINFO", String::from_utf8(bytes[1..8].to_vec()).unwrap()),
        kind::OPT => ("OPT", String::new()),
        other => panic!("a record of type {other} was not to be expected"),
    }
}

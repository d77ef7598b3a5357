//! Entry points for fuzzing: what handles bytes from outside, without sockets.

use std::path::Path;
use std::sync::Arc;

use service::Event;
use service::manifest::Objects;
use tokio::runtime::Runtime;

use crate::cache::UpstreamReply;
use crate::client::{Client, Transport};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::names::{Input, Names};
use crate::plan::{Action, Chain, Plan, ServedZone};
use crate::plugin::hosts::HostNames;
use crate::plugin::{self, Parts};
use crate::recursion::{self, Recursion};
use crate::wire::{Copier, Message, Name, Query, Question, Record, Reply, Section};
use crate::zone::{Table, View};

/// A server without sockets, which is handed packets.
#[derive(Debug)]
pub struct Server {
    plan: Plan,
    runtime: Runtime,
}

impl Server {
    /// A server with the first block of a Corefile and with the cluster that a manifest describes.
    ///
    /// # Panics
    /// When one of them cannot be read.
    pub fn new(corefile: &str, manifest: &str) -> Self {
        let config = Config::from_corefile(corefile, Path::new("/")).expect("a Corefile");
        let block = &config.blocks[0];
        let mut objects = Objects::default();
        objects.read(manifest).expect("a manifest");
        let table = Arc::new(Table::new());
        let mut names = Names::new(Default::default(), true);
        names.take(inputs(objects.finish())).into_iter().for_each(|change| table.apply(change, 1));
        let servers = vec!["10.96.0.10".parse().expect("an address")];
        let plugins = &block.plugins;
        let cluster = plugins.kubernetes.as_ref();
        let cluster = cluster.map(|kubernetes| Arc::new(View::new(table, kubernetes, servers)));
        let hosts = plugins.hosts.clone().map(|hosts| Arc::new(HostNames::new(hosts).expect("its lines")));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let recursion = {
            let _tasks_belong_to = runtime.enter();
            let setup = plugins.recursion(&[], "dns://:53");
            Recursion::new(
                setup,
                &recursion::RecursionMetrics::new(&Metrics::new(plugin::NAMES)),
                &recursion::Loops::default(),
            )
        };
        let reply_options = plugins.reply_options();
        let parts = Parts { cluster, imports: None, hosts, recursion, reply_options };
        let chain = Arc::new(Chain::new(plugins, &parts));
        let entries = block.served.iter().map(|served| ServedZone {
            zone: served.zone.clone(),
            chain: chain.clone(),
            counts: None,
            log: None,
        });
        Self { plan: Plan::new(entries.collect()), runtime }
    }

    /// The reply to a packet; `None` if there is none.
    pub fn reply(&self, packet: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        let client = Client { address: [10, 244, 1, 9].into(), port: 4711, transport };
        let mut reply = Vec::new();
        if tcp && let Some(messages) = self.plan.transfer(packet, client) {
            return messages.into_iter().next();
        }
        match self.plan.begin(packet, client, &mut reply).action {
            Action::Reply => {}
            Action::Drop => return None,
            Action::Wait => {
                reply.clear();
                self.runtime.block_on(self.plan.finish(packet, client, &mut reply));
            }
        }
        Some(reply).filter(|reply| !reply.is_empty())
    }
}

/// The events of first lists with these objects.
fn inputs(objects: Objects) -> Vec<Input> {
    let namespaces = objects.namespaces.into_iter().map(Event::Apply).chain([Event::Synced]);
    let services = objects.services.into_iter().map(Event::Apply).chain([Event::Synced]);
    let slices = objects.slices.into_iter().map(Event::Apply).chain([Event::Synced]);
    let pods = objects.pods.into_iter().map(Event::Apply).chain([Event::Synced]);
    let first = namespaces.map(Input::Namespace).chain(services.map(Input::Service));
    first.chain(slices.map(Input::Slice)).chain(pods.map(Input::Pod)).collect()
}

/// The reply of at most `limit` bytes to a client, if an upstream resolver replied so to its query. `None` if the
/// reply is no answer, or the query cannot be read.
pub fn repeated(query: &[u8], reply: &[u8], limit: usize, ttl: Option<u32>) -> Option<Vec<u8>> {
    let query = Query::decode(query).ok()?;
    let entry = UpstreamReply::read(reply, &Question::of(&query)).ok()?;
    let mut out = Vec::new();
    entry.write(&query, limit, ttl, &mut out);
    Some(out)
}

/// A reply to a query with the records of another reply, and how many of them fit. `None` if one of them cannot be
/// read.
pub fn copied(query: &[u8], reply: &[u8], limit: usize) -> Option<(Vec<u8>, usize)> {
    let query = Query::decode(query).ok()?;
    let records = Message::read(reply).and_then(Message::records).ok()?;
    let mut out = Vec::new();
    let mut made = Reply::to(&query, limit, &mut out);
    let mut copier = Copier::new(&mut made, &query.name);
    let fit = records.iter().take_while(|(_, record)| copier.record(Section::Answer, record)).count();
    made.finish(0);
    Some((out, fit))
}

/// The records of a reply as text, to compare them. `None` if it cannot be read.
pub fn records(reply: &[u8]) -> Option<Vec<String>> {
    let records = Message::read(reply).and_then(Message::records).ok()?;
    let text = |(_, record): (Section, Record)| {
        let Record { name, kind, ttl, data } = record;
        let owner = Name::read(&name, 0).map(|(name, _)| name.to_string());
        format!("{owner:?} {kind} {ttl} {data:?}")
    };
    Some(records.into_iter().map(text).collect())
}

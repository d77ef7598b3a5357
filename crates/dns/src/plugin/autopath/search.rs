//! Following the search path of a client.

use std::path::Path;

use super::{AutopathOptions, SearchPath};
use crate::answer::ReplyOptions;
use crate::client::Client;
use crate::resolv_conf::search_path;
use crate::wire::{CLASS_IN, Copier, Message, Name, Query, Record, Reply, Section, flag, kind};
use crate::zone::View;

/// The search paths of clients.
#[derive(Debug)]
pub(super) struct Search {
    zones: Vec<Name>,
    /// The end of every search path; without `by_pod` the whole of it.
    host: Vec<Name>,
    /// The domain of the cluster, if a search path begins with the namespace of the pod.
    by_pod: Option<Name>,
}

impl Search {
    /// The search paths of a configuration. That of a pod ends with that of this machine, as kubelet writes it.
    pub(super) fn new(options: &AutopathOptions, cluster: Option<&View>) -> Self {
        let (path, by_pod) = match &options.search {
            SearchPath::File(path) => (path.as_path(), None),
            SearchPath::Pods => (Path::new("/etc/resolv.conf"), cluster.map(|view| view.domain().clone())),
        };
        Self {
            zones: options.zones.clone(),
            host: search_path(&std::fs::read_to_string(path).unwrap_or_default()),
            by_pod,
        }
    }

    /// Whether a query is the first of a search: its name is below the first domain of the search path. The type does
    /// not matter, since a name must exist for all types or for none (RFC 8020).
    pub(super) fn applies(&self, cluster: Option<&View>, query: &Query<'_>, client: Client) -> bool {
        query.class == CLASS_IN
            && self.zones.iter().any(|zone| query.name.below(zone).is_some())
            && self.base(cluster, query, client).is_some()
    }

    /// The name that the client looks for, and its search path.
    fn base(&self, cluster: Option<&View>, query: &Query<'_>, client: Client) -> Option<(Name, Vec<Name>)> {
        let mut path = Vec::new();
        if let Some(domain) = &self.by_pod {
            let reading = cluster?.read();
            // The address of a node may belong to pods of several namespaces. Their search path is not known.
            let [namespace] = reading.pods(client.address) else { return None };
            let svc = Name::of_parts(&[b"\x03svc", domain.wire()]).ok()?;
            path.push(Name::of_parts(&[namespace, svc.wire()]).ok()?);
            if query.name.below(&path[0])? == 0 {
                return None;
            }
            path.extend([svc, domain.clone()]);
        }
        path.extend(self.host.iter().cloned());
        let front = query.name.below(path.first()?).filter(|front| *front > 0)?;
        let base = Name::of_parts(&[query.name.span(0, front), &[0]]).ok()?;
        Some((base, path))
    }

    /// The names that the client would ask for one after the other, at last the name without a domain of the search
    /// path. `None` if the query is not the first of a search.
    pub(super) fn names(
        &self,
        cluster: Option<&View>,
        query: &Query<'_>,
        client: Client,
    ) -> Option<Vec<Name>> {
        if !self.applies(cluster, query, client) {
            return None;
        }
        let (base, path) = self.base(cluster, query, client)?;
        let front = base.span(0, base.labels());
        let names = path.iter().filter_map(|domain| Name::of_parts(&[front, domain.wire()]).ok());
        Some(names.chain([base.clone()]).collect())
    }
}

/// Turns the reply about a name of the search path into a reply to the query, with an alias from the name of the query
/// in front. Returns false if the reply cannot be read.
pub(super) fn lead_to(
    query: &Query<'_>,
    name: &Name,
    options: ReplyOptions,
    limit: usize,
    out: &mut Vec<u8>,
) -> bool {
    let Ok(message) = Message::read(out) else { return false };
    let (code, flags) = (message.rcode(), message.flags());
    let Ok(records) = message.records() else { return false };
    let shortest = records.iter().map(|(_, record)| record.ttl).min().unwrap_or(0);
    let mut reply = Reply::to(query, limit, out);
    reply.set(flags & (flag::AA | flag::RA) | if options.recursion { flag::RA } else { 0 });
    let answered = records.iter().any(|(section, _)| *section == Section::Answer);
    let mut copier = Copier::new(&mut reply, &query.name);
    if answered && *name != query.name {
        let asked = query.name.wire().into();
        let alias = Record { name: asked, kind: kind::CNAME, ttl: shortest, data: name.wire().into() };
        copier.record(Section::Answer, &alias);
    }
    for (section, record) in &records {
        copier.record(*section, record);
    }
    reply.finish(code);
    true
}

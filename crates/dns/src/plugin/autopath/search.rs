//! Following a client's search path for it, so that the first of its lookups is the last.

use std::path::Path;

use super::{AutopathOptions, SearchPath};
use crate::answer::ReplyOptions;
use crate::client::Client;
use crate::wire::{CLASS_IN, Copier, Message, Name, Query, Record, Reply, Section, flag, kind};
use crate::zone::View;

/// Following clients' search paths.
#[derive(Debug)]
pub(super) struct Search {
    zones: Vec<Name>,
    /// What every search path ends with; the whole of it if `by_pod` is not set.
    host: Vec<Name>,
    /// Whether a path begins with the namespace of the client's pod.
    by_pod: Option<Name>,
}

impl Search {
    /// As a configuration says. The search path of a pod goes on with that of this machine, as kubelet writes it.
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

    /// Whether a query is the first of a search: under the first name of the client's path. Every type counts, or
    /// a name would exist for one and not for another.
    pub(super) fn applies(&self, cluster: Option<&View>, query: &Query<'_>, client: Client) -> bool {
        query.class == CLASS_IN
            && self.zones.iter().any(|zone| query.name.below(zone).is_some())
            && self.base(cluster, query, client).is_some()
    }

    /// The name that the client looks for, and the path that it goes.
    fn base(&self, cluster: Option<&View>, query: &Query<'_>, client: Client) -> Option<(Name, Vec<Name>)> {
        let mut path = Vec::new();
        if let Some(domain) = &self.by_pod {
            let reading = cluster?.read();
            // Pods of several namespaces share the address of their node, so nothing is known of those.
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

    /// The names that the client would ask for one after the other, the last one being that without a path; `None`
    /// if this is no search.
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

/// Makes the reply for a name that a search led to one to the query: an alias in front, if it is another name.
/// Tells whether that could be done.
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

/// The search path in a text of the form of resolv.conf; the last line counts.
fn search_path(text: &str) -> Vec<Name> {
    let mut path = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if matches!(words.next(), Some("search" | "domain")) {
            path = words.filter_map(|word| Name::from_text(word).ok()).collect();
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_search_line_counts() {
        let path = search_path("search a.example b.example\n# x\nnameserver 192.0.2.1\nsearch c.example .\n");
        let texts: Vec<_> = path.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["c.example.", "."]);
    }
}

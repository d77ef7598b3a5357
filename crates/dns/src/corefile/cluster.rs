//! `kubernetes`, `autopath` and `transfer`.

use service::Cidr;

use super::Fault;
use super::directives::Read;
use super::syntax::Directive;
use crate::config::{Autopath, Kubernetes, PodRecords, Search, Selector, Transfer};

/// The options of `kubernetes`.
const OPTIONS: [&str; 16] = [
    "endpoint",
    "tls",
    "kubeconfig",
    "apiserver_qps",
    "apiserver_burst",
    "apiserver_max_inflight",
    "namespaces",
    "namespace_labels",
    "labels",
    "pods",
    "endpoint_pod_names",
    "ttl",
    "noendpoints",
    "fallthrough",
    "ignore",
    "multicluster",
];

pub(super) fn kubernetes(directive: &Directive, read: &mut Read<'_>) -> Result<(), Fault> {
    if read.plugins.kubernetes.is_some() {
        return Err(directive.fault("it is already in this block; one cluster a block"));
    }
    let mut kubernetes = Kubernetes::of_zones(read.zones_or_own(directive, &directive.arguments)?);
    for option in &directive.options {
        match &*option.name {
            "endpoint" => kubernetes.api.url = option.some("URL")?.first().cloned(),
            "tls" => {
                let files = option.exactly::<3>("CERT KEY CACERT")?;
                kubernetes.api.tls = Some([0, 1, 2].map(|index| read.folder.join(&files[index])));
            }
            "kubeconfig" => {
                let [file, context @ ..] = option.some("FILE [CONTEXT]")? else { continue };
                kubernetes.api.kubeconfig = Some(read.folder.join(file));
                kubernetes.api.context = context.first().cloned();
            }
            "namespaces" => kubernetes.namespaces.extend_from_slice(option.some("NAMESPACE...")?),
            "namespace_labels" => {
                kubernetes.namespace_labels = Some(selector(option)?);
            }
            "labels" => kubernetes.labels = Some(selector(option)?),
            "pods" => {
                kubernetes.pods = match option.exactly::<1>("disabled|insecure|verified")?[0].as_str() {
                    "disabled" => PodRecords::Disabled,
                    "insecure" => PodRecords::Insecure,
                    "verified" => PodRecords::Verified,
                    other => {
                        return Err(option.fault(format!("{other:?}: write disabled, insecure or verified")));
                    }
                }
            }
            "endpoint_pod_names" => {
                option.bare()?;
                kubernetes.endpoint_pod_names = true;
            }
            "ttl" => kubernetes.ttl = option.seconds(&option.exactly::<1>("SECONDS")?[0], 3600)?,
            "noendpoints" => {
                option.bare()?;
                kubernetes.no_endpoints = true;
            }
            "fallthrough" => kubernetes.fall_through = Some(fall_through(option)?),
            "ignore" => match option.exactly::<1>("empty_service")?[0].as_str() {
                "empty_service" => kubernetes.ignore_empty = true,
                other => {
                    return Err(option.fault(format!("{other:?} cannot be ignored; write empty_service")));
                }
            },
            "multicluster" => {
                let zones = read.zones_or_own(option, &option.arguments)?;
                if let Some(zone) = zones.iter().find(|zone| !kubernetes.zones.contains(zone)) {
                    let text = format!("{zone} must be among the zones of kubernetes itself");
                    return Err(option.fault(text));
                }
                kubernetes.multicluster = zones;
            }
            "startup_timeout" => {
                kubernetes.startup = option.duration(&option.exactly::<1>("DURATION")?[0])?;
            }
            "apiserver_qps" | "apiserver_burst" | "apiserver_max_inflight" => {
                option.number::<u32>(&option.exactly::<1>("NUMBER")?[0])?;
                read.warn(option.line, &format!("{} has no effect: watches are few", option.name));
            }
            _ => return Err(directive.unknown_option(option, &OPTIONS)),
        }
    }
    if !kubernetes.namespaces.is_empty() && kubernetes.namespace_labels.is_some() {
        return Err(directive.fault("namespaces and namespace_labels exclude each other; keep one of them"));
    }
    read.plugins.kubernetes = Some(kubernetes);
    Ok(())
}

fn selector(option: &Directive) -> Result<Selector, Fault> {
    Selector::parse(&option.some("SELECTOR")?.join(" ")).map_err(|text| option.fault(text))
}

/// The zones of a `fallthrough`; without any it is about all names, which are those below the root.
pub(super) fn fall_through(option: &Directive) -> Result<Vec<crate::wire::Name>, Fault> {
    if option.arguments.is_empty() {
        Ok(vec![crate::wire::Name::root()])
    } else {
        option.zones(&option.arguments)
    }
}

pub(super) fn autopath(directive: &Directive, read: &mut Read<'_>) -> Result<(), Fault> {
    let Some((search, zones)) = directive.arguments.split_last() else {
        return Err(directive.fault("write `autopath [ZONE...] @kubernetes|FILE`"));
    };
    let search = match search.strip_prefix('@') {
        Some("kubernetes") => Search::Pods,
        Some(other) => {
            return Err(directive.fault(format!("@{other} knows no search paths; use @kubernetes")));
        }
        None => Search::File(read.folder.join(search)),
    };
    read.plugins.autopath = Some(Autopath { zones: read.zones_or_own(directive, zones)?, search });
    Ok(())
}

pub(super) fn transfer(directive: &Directive, read: &mut Read<'_>) -> Result<(), Fault> {
    let zones = read.zones_or_own(directive, &directive.arguments)?;
    let mut to = Some(Vec::new());
    for option in &directive.options {
        if option.name != "to" {
            return Err(directive.unknown_option(option, &["to"]));
        }
        for text in option.some("ADDRESS|*...")? {
            if text == "*" {
                to = None;
                continue;
            }
            let block = if text.contains('/') { text.clone() } else { one_address(text) };
            let block: Cidr = block
                .parse()
                .map_err(|_| option.fault(format!("{text:?} is no address; write one, a block, or *")))?;
            if let Some(to) = &mut to {
                to.push(block);
            }
        }
    }
    if to.as_ref().is_some_and(Vec::is_empty) {
        return Err(directive.fault("say who may fetch the zone: to ADDRESS..."));
    }
    read.plugins.transfer.push(Transfer { zones, to });
    Ok(())
}

/// An address, perhaps with a port, as a block of one.
fn one_address(text: &str) -> String {
    let address = match text.parse::<std::net::SocketAddr>() {
        Ok(socket) => socket.ip().to_string(),
        Err(_) => text.to_owned(),
    };
    let bits = if address.contains(':') { 128 } else { 32 };
    format!("{address}/{bits}")
}

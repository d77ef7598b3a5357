//! Reading the directive `kubernetes`.

use super::{KubernetesOptions, PodRecords, Selector};
use crate::corefile::{Directive, Fault, Scope};

/// The options that are listed if one is not known.
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

/// Reads `kubernetes [ZONE...] { OPTION... }`.
pub(in crate::plugin) fn read(
    value: &mut Option<KubernetesOptions>,
    directive: &Directive,
    scope: &mut Scope<'_>,
) -> Result<(), Fault> {
    let mut kubernetes = KubernetesOptions::of_zones(scope.zones_or_own(directive, &directive.arguments)?);
    for option in &directive.options {
        match &*option.name {
            "endpoint" => kubernetes.api.url = option.some("URL")?.first().cloned(),
            "tls" => {
                let files = option.exactly::<3>("CERT KEY CACERT")?;
                kubernetes.api.tls = Some([0, 1, 2].map(|index| scope.folder.join(&files[index])));
            }
            "kubeconfig" => {
                let [file, context @ ..] = option.some("FILE [CONTEXT]")? else { continue };
                kubernetes.api.kubeconfig = Some(scope.folder.join(file));
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
            "fallthrough" => kubernetes.fall_through = Some(option.fall_through()?),
            "ignore" => match option.exactly::<1>("empty_service")?[0].as_str() {
                "empty_service" => kubernetes.ignore_empty = true,
                other => {
                    return Err(option.fault(format!("{other:?} cannot be ignored; write empty_service")));
                }
            },
            "multicluster" => {
                let zones = scope.zones_or_own(option, &option.arguments)?;
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
                scope.warn(option.line, &format!("{} has no effect: watches are few", option.name));
            }
            _ => return Err(directive.unknown_option(option, &OPTIONS)),
        }
    }
    if !kubernetes.namespaces.is_empty() && kubernetes.namespace_labels.is_some() {
        return Err(directive.fault("namespaces and namespace_labels exclude each other; keep one of them"));
    }
    *value = Some(kubernetes);
    Ok(())
}

fn selector(option: &Directive) -> Result<Selector, Fault> {
    Selector::parse(&option.some("SELECTOR")?.join(" ")).map_err(|error| option.fault(error))
}

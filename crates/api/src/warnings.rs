//! What the server tells a client in `Warning` headers although the request is fine.
//!
//! Sources: `pkg/api/service/warnings.go`, `k8s.io/api/core/v1/lifecycle.go`.

use serde_json::Value;

use crate::meta;
use crate::schema::Kind;

/// What every request for the kind is told, whatever its verb.
#[must_use]
pub fn deprecation(kind: &Kind) -> Option<&'static str> {
    let is_endpoints = kind.is("", "Endpoints");
    is_endpoints.then_some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
}

/// What a client that writes this (defaulted, valid) object is told.
#[must_use]
pub fn of_object(kind: &Kind, object: &Value) -> Vec<String> {
    let texts = if kind.is("", "Service") {
        service(object)
    } else if kind.is("discovery.k8s.io", "EndpointSlice") && object["addressType"] == "FQDN" {
        vec!["spec.addressType: FQDN endpoints are deprecated"]
    } else {
        Vec::new()
    };
    texts.into_iter().map(str::to_owned).collect()
}

fn service(object: &Value) -> Vec<&'static str> {
    let spec = &object["spec"];
    let headless = spec["clusterIP"] == "None";
    let named = spec["type"] == "ExternalName";
    let has_external_ips = !meta::list(spec, &["externalIPs"]).is_empty();
    let hints = meta::annotation(object, "service.kubernetes.io/topology-aware-hints");
    let table = [
        (
            hints.is_some(),
            "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead",
        ),
        (
            headless && !meta::text(spec, &["loadBalancerIP"]).is_empty(),
            "spec.loadBalancerIP is ignored for headless services",
        ),
        (headless && has_external_ips, "spec.externalIPs is ignored for headless services"),
        (
            headless && spec["sessionAffinity"] != "None",
            "spec.SessionAffinity is ignored for headless services",
        ),
        (
            has_external_ips && !headless && !named,
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
        ),
        (named && has_external_ips, "spec.externalIPs is ignored when spec.type is \"ExternalName\""),
        (
            !named && !meta::text(spec, &["externalName"]).is_empty(),
            "spec.externalName is ignored when spec.type is not \"ExternalName\"",
        ),
        (
            spec["trafficDistribution"] == "PreferClose",
            "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"",
        ),
    ];
    table.into_iter().filter(|(holds, _)| *holds).map(|(_, text)| text).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::Schema;

    #[test]
    fn a_service_is_told_what_is_ignored_or_deprecated() {
        let kind = Schema::builtin().kind("", "v1", "Service").unwrap();
        let told = |spec: &Value| of_object(kind, &json!({"spec": spec}));
        assert!(told(&json!({"type": "ClusterIP", "sessionAffinity": "None"})).is_empty());
        assert_eq!(
            told(&json!({"clusterIP": "None", "sessionAffinity": "ClientIP", "externalIPs": ["192.0.2.1"]})),
            [
                "spec.externalIPs is ignored for headless services",
                "spec.SessionAffinity is ignored for headless services"
            ]
        );
        assert_eq!(
            told(
                &json!({"sessionAffinity": "None", "externalName": "a.b", "trafficDistribution": "PreferClose"})
            ),
            [
                "spec.externalName is ignored when spec.type is not \"ExternalName\"",
                "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\""
            ]
        );
    }

    #[test]
    fn endpoints_are_deprecated() {
        let kind = |name| Schema::builtin().kind("", "v1", name).unwrap();
        assert!(deprecation(kind("Endpoints")).is_some_and(|text| text.contains("EndpointSlice")));
        assert!(deprecation(kind("Service")).is_none());
    }
}

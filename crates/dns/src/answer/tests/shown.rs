//! The namespaces whose names a server block serves.

use serde_json::json;
use service::Event;
use service::objects::Namespace;

use super::scene::Scene;
use crate::names::Input;
use crate::plugin::kubernetes::{KubernetesOptions, PodRecords, Selector};
use crate::wire::kind::{A, PTR, SRV};

/// `web` in the namespace `default`, which is listed, and in `other`, which is not.
fn scene(change: impl FnOnce(&mut KubernetesOptions)) -> Scene {
    let mut scene = Scene::with(|kubernetes| {
        kubernetes.fall_through = None;
        change(kubernetes);
    });
    let ports = json!([{"name": "http", "port": 80}]);
    scene
        .service("web", json!({"clusterIP": "10.96.0.7", "ports": ports}))
        .slice("web-1", "web", ports.clone(), json!([{"addresses": ["10.244.1.2"]}]))
        .service_in("other", "web", json!({"clusterIP": "10.96.0.8", "ports": ports}));
    scene
}

#[test]
fn coredns_namespaces_hides_all_others_and_their_addresses() {
    let scene = scene(|kubernetes| kubernetes.namespaces = vec!["other".to_owned()]);
    assert_eq!(scene.answers("web.other.svc.cluster.local", A), ["10.96.0.8"]);
    assert_eq!(scene.answers("8.0.96.10.in-addr.arpa", PTR), ["web.other.svc.cluster.local."]);
    for name in ["web.default.svc.cluster.local", "default.svc.cluster.local", "7.0.96.10.in-addr.arpa"] {
        assert_eq!(scene.status(name, A), "NXDOMAIN", "{name}");
    }
    assert_eq!(scene.status("2.1.244.10.in-addr.arpa", PTR), "NXDOMAIN");
}

#[test]
fn coredns_with_pods_disabled_no_namespace_has_a_name_for_them() {
    let scene = scene(|kubernetes| kubernetes.pods = PodRecords::Disabled);
    for (name, status) in [("", "NODATA"), ("default.", "NXDOMAIN"), ("10-1-2-3.default.", "NXDOMAIN")] {
        assert_eq!(scene.status(&format!("{name}pod.cluster.local"), A), status, "{name}");
    }
}

#[test]
fn coredns_with_namespace_labels_a_service_makes_no_namespace() {
    let selector = || Some(Selector::parse("env=prod").unwrap());
    let mut scene = scene(|kubernetes| kubernetes.namespace_labels = selector());
    assert_eq!(scene.answers("web.default.svc.cluster.local", A), ["10.96.0.7"]);
    for name in
        ["web.other.svc.cluster.local", "_http._tcp.web.other.svc.cluster.local", "other.svc.cluster.local"]
    {
        assert_eq!(scene.status(name, SRV), "NXDOMAIN", "{name}");
    }
    assert_eq!(
        scene.status("8.0.96.10.in-addr.arpa", PTR),
        "NXDOMAIN",
        "no PTR record leads to a name that does not exist"
    );
    scene.feed(Input::Namespace(Event::Apply(Namespace::named("other"))));
    assert_eq!(scene.answers("web.other.svc.cluster.local", A), ["10.96.0.8"]);
    assert_eq!(scene.answers("8.0.96.10.in-addr.arpa", PTR), ["web.other.svc.cluster.local."]);
}

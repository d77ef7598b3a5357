//! Random objects that suggest names: Namespaces, Services, EndpointSlices and Pods that an API server accepts.

mod endpoints;

use fastrand::Rng;
use serde_json::{Value, json};

/// An object, the collection in which it is created, and the status to give it afterwards.
#[derive(Debug)]
pub struct Created {
    /// The path of the collection.
    pub collection: String,
    /// The object.
    pub object: Value,
    /// Its status.
    pub status: Option<Value>,
}

/// Namespaces with objects; the first is always there.
pub(super) const NAMESPACES: [&str; 3] = ["default", "team-a", "team-b"];
/// A Namespace without objects.
const EMPTY: &str = "empty";
/// Names that are used again in every namespace, so that names can be mistaken for one another.
const NAMES: [&str; 10] = ["web", "db", "api", "cache", "svc", "pod", "team-a", "a", "web-0", "kube-dns"];
/// As long as a label may be.
const LONG: &str = "a-name-of-sixty-three-bytes-is-the-longest-that-a-label-can-bez";
/// Where ExternalNames lead: outside, inside, in a circle, to nothing, to what is no name.
const EXTERNAL: [&str; 14] = [
    "www.example.com",
    "WWW.example.com.",
    "alias.example.com",
    "dangling.example.com",
    "missing.example.com",
    "servfail.example.com",
    "many.example.com",
    "only-v6.example.com",
    "web.team-a.svc.cluster.local",
    "db.default.svc.cluster.local",
    "ext-0.default.svc.cluster.local",
    "ext-1.team-a.svc.cluster.local",
    "missing.default.svc.cluster.local",
    "192.0.2.77",
];

/// Random objects with about so many Services, in the order in which they can be created.
pub fn objects(random: &mut Rng, services: usize) -> Vec<Created> {
    let mut objects = Vec::new();
    for (name, labels) in [
        (NAMESPACES[1], json!({"env": "prod"})),
        (NAMESPACES[2], json!({"env": "test"})),
        (EMPTY, json!({"env": "prod"})),
    ] {
        let metadata = json!({"name": name, "labels": labels});
        objects.push(created("/api/v1/namespaces", json!({"kind": "Namespace", "metadata": metadata})));
    }
    let per_namespace = services.div_ceil(NAMESPACES.len());
    for namespace in NAMESPACES {
        for number in 0..per_namespace {
            let name = match NAMES.get(number) {
                Some(name) => (*name).to_owned(),
                None if number == NAMES.len() => LONG.to_owned(),
                None if random.bool() => format!("ext-{}", number - NAMES.len() - 1),
                None => format!("s{number}"),
            };
            service(random, namespace, &name, &mut objects);
        }
    }
    objects.extend(endpoints::pods(random));
    objects
}

fn created(collection: &str, object: Value) -> Created {
    Created { collection: collection.to_owned(), object, status: None }
}

pub(super) fn choose<T: Copy>(random: &mut Rng, from: &[T]) -> T {
    from[random.usize(..from.len())]
}

/// A Service and its EndpointSlices.
fn service(random: &mut Rng, namespace: &str, name: &str, objects: &mut Vec<Created>) {
    let ports = ports(random);
    let kind = match name.starts_with("ext-") {
        true => "ExternalName",
        false => choose(
            random,
            &["ClusterIP", "ClusterIP", "None", "None", "None", "NodePort", "LoadBalancer", "ExternalName"],
        ),
    };
    let mut spec = json!({"type": kind, "ports": ports});
    match kind {
        "ExternalName" => spec["externalName"] = choose(random, &EXTERNAL).into(),
        kind => {
            if kind == "None" {
                spec["type"] = "ClusterIP".into();
                spec["clusterIP"] = "None".into();
                if random.u8(..5) == 0 {
                    spec["ports"] = json!([]);
                }
            }
            families(random, &mut spec);
            spec["publishNotReadyAddresses"] = (random.u8(..4) == 0).into();
            if random.u8(..3) != 0 {
                spec["selector"] = json!({"app": name});
            }
            if kind == "LoadBalancer" {
                spec["externalIPs"] = json!(["198.51.100.77"]);
            }
        }
    }
    let tier = choose(random, &["front", "back", "other"]);
    let metadata = json!({"name": name, "namespace": namespace, "labels": {"tier": tier}});
    let object = json!({"kind": "Service", "metadata": metadata, "spec": spec});
    let publishes = spec["publishNotReadyAddresses"] == true;
    objects.push(created(&format!("/api/v1/namespaces/{namespace}/services"), object));
    let kept = random.u8(..8) == 0 || kind != "ExternalName";
    for number in 0..if kept { random.usize(..4) } else { 0 } {
        let slice = endpoints::slice(random, (namespace, name, number), &ports, publishes);
        objects.push(created(
            &format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"),
            slice,
        ));
    }
}

fn families(random: &mut Rng, spec: &mut Value) {
    let (families, policy) = choose(
        random,
        &[
            (&["IPv4"][..], "SingleStack"),
            (&["IPv4"], "SingleStack"),
            (&["IPv6"], "SingleStack"),
            (&["IPv4", "IPv6"], "RequireDualStack"),
            (&["IPv6", "IPv4"], "PreferDualStack"),
        ],
    );
    spec["ipFamilies"] = families.into();
    spec["ipFamilyPolicy"] = policy.into();
}

/// The ports of a Service: one may have no name; some share a name's number or protocol.
fn ports(random: &mut Rng) -> Value {
    let names = ["http", "https", "dns", "metrics", "a-long-port-15c", "x"];
    if random.u8(..4) == 0 {
        return json!([{"port": random.u16(1..9999), "protocol": choose(random, &["TCP", "UDP", "SCTP"])}]);
    }
    let first = random.usize(..names.len());
    let ports: Vec<_> = (0..random.usize(1..4))
        .map(|index| {
            let name = names[(first + index) % names.len()];
            let protocol = choose(random, &["TCP", "TCP", "UDP", "SCTP"]);
            json!({"name": name, "port": 80 + index, "protocol": protocol})
        })
        .collect();
    ports.into()
}

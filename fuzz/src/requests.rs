//! What clients of the API server send.

// The rules without regard to time, which the tests of `api` use too.
#[path = "../../crates/api/src/patch/strategic/model.rs"]
mod model;

use api::codec::{Decoded, FieldValidation, Media, conform, decode, encode_protobuf};
use api::schema::{Kind, Schema};
use serde_json::{Value, json};

const MEDIA: [Media; 3] = [Media::Json, Media::Yaml, Media::Protobuf];

/// The kind that a byte tells.
fn kind_of(byte: u8) -> &'static Kind {
    let kinds = Schema::builtin().kinds();
    &kinds[usize::from(byte) % kinds.len()]
}

/// A body of a kind, after a byte for the kind and one for the media type.
pub(crate) fn object(data: &[u8]) {
    let [kind, media, body @ ..] = data else { return };
    let (schema, kind) = (Schema::builtin(), kind_of(*kind));
    let media = MEDIA[usize::from(*media) % MEDIA.len()];
    let read = |media, body: &[u8]| decode(schema, kind, media, body, FieldValidation::Warn);
    let decoded = match read(media, body) {
        Ok(Decoded { object, .. }) => object,
        Err(status) => return assert!((400..500).contains(&status.code), "{status:?}"),
    };
    let again = read(Media::Json, decoded.to_string().as_bytes());
    assert_eq!(again.map(|again| again.object).as_ref(), Ok(&decoded), "what was read reads the same");
    let encoded = encode_protobuf(schema, kind, &decoded);
    assert!(read(Media::Protobuf, &encoded).is_ok(), "others can read it in protobuf: {decoded}");
    let mut object = decoded;
    api::defaults::apply(schema, kind, &mut object);
    drop(api::validate::create(schema, kind, &object));
    drop(api::validate::update(schema, kind, &object, &object));
    let mut twice = object.clone();
    api::defaults::apply(schema, kind, &mut twice);
    assert_eq!(object, twice, "defaults of an object with defaults");
}

/// An object and a patch with a zero byte between them, after a byte for the kind and one for the sort of patch.
pub(crate) fn patch(data: &[u8]) {
    let [kind, sort, rest @ ..] = data else { return };
    let mut parts = rest.split(|byte| *byte == 0);
    let mut value = || serde_json::from_slice::<Value>(parts.next()?).ok();
    let (Some(target), Some(patch)) = (value(), value()) else { return };
    let (schema, kind, mut changed) = (Schema::builtin(), kind_of(*kind), target.clone());
    let outcome = match sort % 3 {
        0 => api::patch::json_patch(&mut changed, &patch),
        1 => {
            let outcome = api::patch::strategic(schema, kind, &mut changed, &patch);
            let mut plain = target.clone();
            assert_eq!(outcome, model::strategic(schema, kind, &mut plain, &patch), "as its rules read");
            assert!(outcome.is_err() || changed == plain, "{changed} is not {plain}, as its rules read");
            outcome
        }
        _ => {
            api::patch::merge(&mut changed, &patch);
            Ok(())
        }
    };
    match outcome {
        Ok(()) => drop(conform(schema, kind, changed, FieldValidation::Strict)),
        Err(status) => assert!((400..500).contains(&status.code), "{status:?}"),
    }
}

fn place(kind: &str) -> u8 {
    let place = Schema::builtin().kinds().iter().position(|known| known.kind == kind);
    place.and_then(|place| u8::try_from(place).ok()).expect("a kind of the table")
}

fn samples() -> [Value; 4] {
    let template = json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{
            "name": "c", "image": "i", "env": [{"name": "A", "value": "b"}],
            "ports": [{"containerPort": 80, "protocol": "TCP"}],
            "resources": {"limits": {"cpu": "100m", "memory": "1Gi"}},
            "livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 3},
        }]},
    });
    [
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "labels": {"a": "b"}},
               "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
               "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "aGVsbG8="}}),
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "e"},
               "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}}]}),
    ]
}

pub(crate) fn objects() -> Vec<Vec<u8>> {
    let schema = Schema::builtin();
    let in_each = |object: Value| {
        let place = place(object["kind"].as_str().unwrap_or_default());
        let kind = kind_of(place);
        let bodies = [object.to_string().into_bytes(), encode_protobuf(schema, kind, &object)];
        let [json, protobuf] = bodies;
        [(0, json.clone()), (1, json), (2, protobuf)].map(|(media, body)| [vec![place, media], body].concat())
    };
    samples().into_iter().flat_map(in_each).collect()
}

pub(crate) fn patches() -> Vec<Vec<u8>> {
    let operations = json!([
        {"op": "test", "path": "/kind", "value": "Service"},
        {"op": "add", "path": "/spec/ports/-", "value": {"port": 81}},
        {"op": "copy", "from": "/metadata", "path": "/x~1y"},
        {"op": "move", "from": "/x~1y", "path": "/z"},
        {"op": "remove", "path": "/spec/ports/0"},
    ]);
    let strategic = json!({"spec": {"template": {"spec": {
        "$setElementOrder/containers": [{"name": "d"}, {"name": "c"}],
        "containers": [{"name": "c", "$patch": "delete"}, {"name": "d", "image": "j"}],
        "$retainKeys": ["containers"],
    }}, "$patch": "merge"}, "metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "labels": null}});
    let of = |sample: &Value, sort: u8, patch: &Value| {
        let place = place(sample["kind"].as_str().unwrap_or_default());
        [vec![place, sort], sample.to_string().into_bytes(), vec![0], patch.to_string().into_bytes()].concat()
    };
    let [service, deployment, ..] = samples();
    let ports = json!({"spec": {
        "$setElementOrder/ports": [{"port": 81}, {"port": 80}, {"port": null}],
        "ports": [{"port": 80, "$patch": "replace"}, {"port": 80, "name": null}, {"port": 81}, {"port": 81, "$patch": "delete"},
                  {"port": null, "name": "a"}, {"port": "80"}],
    }});
    let patches = [
        (&service, 0, &operations),
        (&deployment, 1, &strategic),
        (&deployment, 2, &strategic),
        (&service, 1, &ports),
    ];
    patches.map(|(sample, sort, patch)| of(sample, sort, patch)).into()
}

/// A query string and headers, in lines: the first is the query, the others are `name: value`.
pub(crate) fn head(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let query = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let headers = lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    });
    apiserver::fuzz::query(&query);
    apiserver::fuzz::headers(headers);
}

pub(crate) fn heads() -> Vec<Vec<u8>> {
    let headers = "Impersonate-User: system:serviceaccount:dev:web\nImpersonate-Group: dev\nImpersonate-Group: ops\n\
                   Impersonate-Uid: 17\nImpersonate-Extra-Acme.com%2Fscope: a\nAccept: */*";
    let queries = [
        "watch=true&timeoutSeconds=18446744073709551615&limit=-1&resourceVersion=0",
        "timeoutSeconds=9223372036854775807&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
        "labelSelector=a%3Db%2Cc+in+%28d%2Ce%29&fieldSelector=metadata.name%3Dx&limit=500&continue=e30",
        "gracePeriodSeconds=-9223372036854775808&tailLines=1&sinceSeconds=60&limitBytes=0",
    ];
    let others = ["X-Remote-User: admin", "Authorization: Bearer x", "Impersonate-Userinfo: x"];
    let mut heads: Vec<String> = queries.iter().map(|query| format!("{query}\n{headers}")).collect();
    heads.extend(others.iter().map(|header| format!("\n{header}")));
    heads.into_iter().map(String::into_bytes).collect()
}

//! What is decoded, what is refused, and in which words.

use serde_json::json;

use super::*;

fn kind(group: &str, kind: &str) -> &'static Kind {
    Schema::builtin().kind(group, "v1", kind).unwrap()
}

fn strict(kind: &Kind, body: &Value) -> Result<Value, String> {
    let body = body.to_string();
    decode(Schema::builtin(), kind, Media::Json, body.as_bytes(), FieldValidation::Strict)
        .map(|decoded| decoded.object)
        .map_err(|status| {
            assert_eq!(status.code, 400);
            status.message
        })
}

#[test]
fn media_types_are_read_without_their_parameters() {
    assert_eq!(Media::parse("application/json; charset=utf-8"), Some(Media::Json));
    assert_eq!(Media::parse("application/vnd.kubernetes.protobuf"), Some(Media::Protobuf));
    assert_eq!(Media::parse("Application/YAML"), Some(Media::Yaml));
    assert_eq!((Media::parse(""), Media::parse("text/plain")), (Some(Media::Json), None));
}

#[test]
fn unknown_fields_are_refused_when_strict_named_when_warning_and_always_dropped() {
    let service = kind("", "Service");
    let body = br#"{"kind":"Service","apiVersion":"v1","spec":{"foo":1,"type":"NodePort","ports":[{"port":1},{"port":2,"prot":"x"}]}}"#;
    let run = |validation| decode(Schema::builtin(), service, Media::Json, body, validation);
    assert_eq!(
        run(FieldValidation::Strict).unwrap_err().message,
        "Service in version \"v1\" cannot be handled as a Service: strict decoding error: \
         unknown field \"spec.foo\", unknown field \"spec.ports[1].prot\""
    );
    let warned = run(FieldValidation::Warn).unwrap();
    assert_eq!(warned.warnings, ["unknown field \"spec.foo\"", "unknown field \"spec.ports[1].prot\""]);
    let ignored = run(FieldValidation::Ignore).unwrap();
    assert!(ignored.warnings.is_empty());
    assert_eq!(ignored.object["spec"], json!({"type": "NodePort", "ports": [{"port": 1}, {"port": 2}]}));
}

#[test]
fn duplicate_fields_are_found_in_json_and_yaml() {
    let service = kind("", "Service");
    let json = br#"{"kind":"Service","apiVersion":"v1","spec":{"type":"NodePort","type":"ClusterIP"}}"#;
    let yaml = b"kind: Service\napiVersion: v1\nspec:\n  type: NodePort\n  type: ClusterIP\n";
    for (media, body) in [(Media::Json, &json[..]), (Media::Yaml, &yaml[..])] {
        let error = decode(Schema::builtin(), service, media, body, FieldValidation::Strict).unwrap_err();
        assert!(error.message.ends_with("duplicate field \"spec.type\""), "{error}");
    }
}

#[test]
fn wrong_types_are_told_as_go_tells_them() {
    let table = [
        (
            json!({"spec": {"ports": [{"port": "eighty"}]}}),
            "json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32",
        ),
        (
            json!({"metadata": {"labels": {"a": 1}}}),
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            json!({"spec": {"ports": {"port": 1}}}),
            "json: cannot unmarshal object into Go struct field ServiceSpec.spec.ports of type []v1.ServicePort",
        ),
        (
            json!({"spec": []}),
            "json: cannot unmarshal array into Go struct field Service.spec of type v1.ServiceSpec",
        ),
        (
            json!({"spec": {"ports": [{"port": 99_999_999_999_u64}]}}),
            "json: cannot unmarshal number 99999999999 into Go struct field ServicePort.spec.ports.port of type int32",
        ),
        (
            json!({"spec": {"ports": [{"port": 80.5}]}}),
            "json: cannot unmarshal number 80.5 into Go struct field ServicePort.spec.ports.port of type int32",
        ),
    ];
    for (body, expected) in table {
        let error = strict(kind("", "Service"), &body).unwrap_err();
        assert_eq!(error, format!("Service in version \"v1\" cannot be handled as a Service: {expected}"));
    }
}

#[test]
fn the_kind_must_be_the_expected_one_and_is_filled_in_when_missing() {
    let service = kind("", "Service");
    assert_eq!(strict(service, &json!({})).unwrap(), json!({"apiVersion": "v1", "kind": "Service"}));
    let table = [
        (
            json!({"apiVersion": "v2", "kind": "Service"}),
            "the API version in the data (v2) does not match the expected API version (v1)",
        ),
        (
            json!({"apiVersion": "v1", "kind": "Pod"}),
            "Pod in version \"v1\" cannot be handled as a Service: converting (v1.Pod) to (v1.Service): unknown conversion",
        ),
        (
            json!({"apiVersion": "v1", "kind": "Foo"}),
            "Foo in version \"v1\" cannot be handled as a Service: no kind \"Foo\" is registered for version \"v1\"",
        ),
    ];
    for (body, expected) in table {
        assert_eq!(strict(service, &body).unwrap_err(), expected);
    }
    let options = kind("meta.k8s.io", "DeleteOptions");
    for version in ["v1", "meta.k8s.io/v1", "apps/v1"] {
        let body = json!({"apiVersion": version, "kind": "DeleteOptions", "propagationPolicy": "Background"});
        assert_eq!(strict(options, &body).unwrap()["propagationPolicy"], "Background");
    }
}

#[test]
fn nulls_and_zero_values_that_go_would_not_send_are_dropped() {
    let body = json!({
        "metadata": {"creationTimestamp": null, "labels": {}, "name": "x", "generateName": ""},
        "spec": {"clusterIP": "", "ports": null, "selector": {"a": ""}, "allocateLoadBalancerNodePorts": false,
                 "trafficDistribution": "", "publishNotReadyAddresses": false},
        "status": {"loadBalancer": {}},
    });
    assert_eq!(
        strict(kind("", "Service"), &body).unwrap(),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"},
            "spec": {"selector": {"a": ""}, "allocateLoadBalancerNodePorts": false, "trafficDistribution": ""},
            "status": {"loadBalancer": {}},
        })
    );
}

#[test]
fn scalars_become_canonical() {
    let pod = json!({"spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}}}]}});
    let pod = strict(kind("", "Pod"), &pod).unwrap();
    assert_eq!(pod["spec"]["containers"][0]["resources"]["limits"], json!({"cpu": "500m", "memory": "1Gi"}));
    let bad = json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "lots"}}}]}});
    assert!(
        strict(kind("", "Pod"), &bad).unwrap_err().contains("quantities must match the regular expression")
    );
    let secret = json!({"data": {"a": "!"}});
    assert!(strict(kind("", "Secret"), &secret).unwrap_err().contains("illegal base64 data at input byte 0"));
    let target =
        json!({"spec": {"ports": [{"port": 1, "targetPort": "http"}, {"port": 2, "targetPort": 80}]}});
    assert!(strict(kind("", "Service"), &target).is_ok());
    let target = json!({"spec": {"ports": [{"port": 1, "targetPort": true}]}});
    assert!(strict(kind("", "Service"), &target).is_err());
}

#[test]
fn malformed_bodies_are_bad_requests_that_say_where() {
    let service = kind("", "Service");
    let table: [(Media, &[u8]); 8] = [
        (Media::Json, b"{\"a\""),
        (Media::Json, b"[]"),
        (Media::Json, b"null"),
        (Media::Json, b""),
        (Media::Yaml, b"a: [b"),
        (Media::Yaml, b"- a"),
        (Media::Protobuf, b"{}"),
        (Media::Protobuf, b"k8s\0\x0a\xff"),
    ];
    for (media, body) in table {
        let error = decode(Schema::builtin(), service, media, body, FieldValidation::Warn).unwrap_err();
        assert_eq!(error.code, 400);
        assert!(error.message.starts_with("the object provided is unrecognized (must be of type Service)"));
    }
}

mod fuzz;
mod golden;
mod round_trip;

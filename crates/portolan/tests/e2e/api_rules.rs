//! What a client meets that does something unusual: codes and texts are upstream's own.

use crate::api::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";

/// Method, path, format, body; the answer's code and the whole of its message.
type Case = (&'static str, String, &'static str, &'static str, u16, &'static str);

#[test]
fn unusual_requests_are_refused_in_upstreams_words() {
    let server = Server::start();
    let manifest = br#"{"metadata":{"name":"a"},"data":{"x":"1"}}"#;
    assert_eq!(server.request("POST", MAPS, JSON, manifest).0, 201);
    let one = |rest: &str| format!("{MAPS}/a{rest}");
    let all = |rest: &str| format!("{MAPS}{rest}");
    let lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    assert_eq!(server.request("POST", lease, JSON, br#"{"metadata":{"name":"l"}}"#).0, 201);
    let not_allowed = "the server does not allow this method on the requested resource";
    let cases: [Case; 14] = [
        (
            "POST",
            all(""),
            JSON,
            r#"{"metadata":{"name":"b","resourceVersion":"5"}}"#,
            500,
            "resourceVersion should not be set on objects to be created",
        ),
        (
            "POST",
            all("?dryRun=Some"),
            JSON,
            "{}",
            422,
            "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Some\"]: supported values: \"All\"",
        ),
        (
            "PUT",
            one(""),
            JSON,
            r#"{"metadata":{"name":"z"}}"#,
            400,
            "the name of the object (z) does not match the name on the URL (a)",
        ),
        (
            "PATCH",
            one(""),
            MERGE,
            r#"{"metadata":{"namespace":"z"}}"#,
            400,
            "the namespace of the object (z) does not match the namespace on the request (default)",
        ),
        (
            "PATCH",
            one(""),
            MERGE,
            r#"{"metadata":{"resourceVersion":"1"}}"#,
            409,
            "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again",
        ),
        (
            "DELETE",
            one(""),
            JSON,
            r#"{"propagationPolicy":"Sideways"}"#,
            422,
            "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"Sideways\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"",
        ),
        (
            "GET",
            all("?resourceVersionMatch=Exact"),
            JSON,
            "",
            422,
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        ("GET", all("?limit=ten"), JSON, "", 400, "strconv.ParseInt: parsing \"ten\": invalid syntax"),
        ("POST", "/api/v1/configmaps".into(), JSON, "{}", 405, not_allowed),
        ("DELETE", "/api/v1/configmaps".into(), JSON, "", 405, not_allowed),
        ("DELETE", "/api/v1/namespaces".into(), JSON, "", 405, not_allowed),
        ("PATCH", all(""), MERGE, "{}", 405, not_allowed),
        (
            "PUT",
            format!("{lease}/l"),
            JSON,
            r#"{"metadata":{"name":"l"}}"#,
            422,
            "Lease.coordination.k8s.io \"l\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update",
        ),
        ("GET", one("?resourceVersion=999999"), JSON, "", 504, ""),
    ];
    for (method, path, media, body, code, message) in cases {
        let (found, status) = server.request(method, &path, media, body.as_bytes());
        assert_eq!(found, code, "{method} {path}: {status}");
        let text = status["message"].as_str().unwrap_or_default();
        assert!(message.is_empty() || text == message, "{method} {path}: {text}");
    }
}

#[test]
fn a_holder_gives_its_lease_up_by_an_empty_name() {
    let server = Server::start();
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let held = br#"{"metadata":{"name":"l"},"spec":{"holderIdentity":"me","leaseDurationSeconds":1}}"#;
    assert_eq!(server.request("POST", leases, JSON, held).0, 201);
    let path = format!("{leases}/l");
    let (code, lease) = server.request("PATCH", &path, MERGE, br#"{"spec":{"holderIdentity":""}}"#);
    assert_eq!((code, lease["spec"]["holderIdentity"].as_str()), (200, Some("")), "{lease}");
}

#[test]
fn a_watch_may_renounce_the_initial_events() {
    let server = Server::start();
    let (_, list) = server.request("GET", MAPS, JSON, b"");
    let revision = list["metadata"]["resourceVersion"].as_str().expect("a revision");
    assert_eq!(server.request("POST", MAPS, JSON, br#"{"metadata":{"name":"later"}}"#).0, 201);
    let path = format!(
        "{MAPS}?watch=true&timeoutSeconds=1&resourceVersion={revision}&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"
    );
    let (code, event) = server.request("GET", &path, JSON, b"");
    assert_eq!((code, event["object"]["metadata"]["name"].as_str()), (200, Some("later")), "{event}");
}

#[test]
fn a_collection_is_deleted_by_its_selector_and_nothing_else() {
    let server = Server::start();
    for n in 0..20 {
        let kept = n % 2;
        let map = format!("{{\"metadata\":{{\"name\":\"m{n}\",\"labels\":{{\"kept\":\"{kept}\"}}}}}}");
        assert_eq!(server.request("POST", MAPS, JSON, map.as_bytes()).0, 201);
    }
    let (code, gone) = server.request("DELETE", &format!("{MAPS}?labelSelector=kept%3D0"), JSON, b"");
    assert_eq!((code, gone["items"].as_array().map(Vec::len)), (200, Some(10)), "{gone}");
    let (_, left) = server.request("GET", MAPS, JSON, b"");
    assert_eq!(left["items"].as_array().map(Vec::len), Some(10));
}

#[test]
fn a_deletion_is_answered_with_a_status_or_for_some_kinds_with_the_object() {
    let server = Server::start();
    let service = br#"{"metadata":{"name":"s"},"spec":{"ports":[{"port":80}]}}"#;
    let core = "/api/v1/namespaces/default";
    for (resource, body, kind) in [
        ("services", &service[..], "Service"),
        ("serviceaccounts", br#"{"metadata":{"name":"s"}}"#, "ServiceAccount"),
        ("configmaps", br#"{"metadata":{"name":"s"}}"#, "Status"),
    ] {
        assert_eq!(server.request("POST", &format!("{core}/{resource}"), JSON, body).0, 201);
        let (code, answer) = server.request("DELETE", &format!("{core}/{resource}/s"), JSON, b"");
        assert_eq!((code, answer["kind"].as_str()), (200, Some(kind)), "{answer}");
    }
}

#[test]
fn a_document_as_deep_as_can_be_ends_no_server() {
    let server = Server::start();
    let block =
        |depth: usize| (0..depth).map(|level| format!("{}a:\n", " ".repeat(level))).collect::<String>();
    let opened = |open: &str| open.repeat(100_000);
    let documents =
        [block(90), block(100), block(2000), opened("- "), opened("? "), opened("{a: "), opened("[")];
    for document in documents {
        let (code, answer) = server.request("POST", MAPS, "application/yaml", document.as_bytes());
        assert!(code == 400 || code == 422, "{code} {answer}");
    }
    let fields = r#"{"f:a":"#.repeat(90) + "{}" + &"}".repeat(90);
    let managed =
        r#"{"manager":"m","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":"#;
    let map = format!(r#"{{"metadata":{{"name":"deep","managedFields":[{managed}{fields}}}]}}}}"#);
    assert_eq!(server.request("POST", MAPS, JSON, map.as_bytes()).0, 201);
    assert_eq!(server.request("GET", MAPS, JSON, b"").0, 200, "it still answers");
}

//! The API server alone, on the loopback address: no root needed.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::{PROGRAM, Process, Said, free_port, run, start_ready};

/// An API server of its own.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    port: u16,
    _process: Process,
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let port = free_port();
        let mut command = Command::new(PROGRAM);
        command.args(["apiserver", "--bind", &format!("127.0.0.1:{port}"), "--data-dir"]);
        command.arg(folder.path().join("data"));
        let started = start_ready(&mut command, &folder.path().join("log"));
        let (process, _) = started.unwrap_or_else(|log| panic!("the server does not start:\n{log}"));
        Self { folder, port, _process: process }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.env("KUBECONFIG", self.folder.path().join("data/kubeconfig"));
        command.env("HOME", self.folder.path()).args(arguments);
        command
    }

    fn kubectl(&self, arguments: &[&str]) -> Said {
        run(&mut self.command(arguments))
    }

    /// kubectl with a manifest on its standard input.
    fn with_input(&self, arguments: &[&str], input: &str) -> Said {
        let file = self.folder.path().join("input");
        std::fs::write(&file, input).expect("a file can be written");
        let input = std::fs::File::open(&file).expect("the file can be read");
        let output =
            self.command(arguments).stdin(Stdio::from(input)).output().expect("kubectl can be started");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        Said { ok: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// A request with the administrator's certificate; the answer's code and body.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        media: &str,
        body: &[u8],
    ) -> (u16, serde_json::Value) {
        let mut credentials = Vec::new();
        for (flag, field) in [("--cert", "client-certificate-data"), ("--key", "client-key-data")] {
            let path = format!("jsonpath={{.users[0].user.{field}}}");
            let encoded = self.kubectl(&["config", "view", "--raw", "-o", &path]).good();
            let file = self.folder.path().join(field);
            let mut decode = Command::new("base64")
                .arg("-d")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("base64");
            decode.stdin.take().expect("input").write_all(encoded.as_bytes()).expect("it reads");
            std::fs::write(&file, decode.wait_with_output().expect("it ends").stdout)
                .expect("a file can be written");
            credentials.push((flag, file));
        }
        let input = self.folder.path().join("body");
        std::fs::write(&input, body).expect("a file can be written");
        let mut curl = Command::new("curl");
        curl.args(["-sSk", "-X", method, "-H", &format!("Content-Type: {media}"), "-w", "\n%{http_code}"]);
        for (flag, file) in credentials {
            curl.arg(flag).arg(file);
        }
        curl.arg("--data-binary").arg(format!("@{}", input.display()));
        let said = run(curl.arg(format!("https://127.0.0.1:{}{path}", self.port))).good();
        let (body, code) = said.rsplit_once('\n').expect("a code follows the body");
        (code.parse().expect("a number"), serde_json::from_str(body).unwrap_or_default())
    }
}

const SERVICES: &str = "/api/v1/namespaces/default/services";

#[test]
fn a_client_without_certificate_is_refused() {
    let server = Server::start();
    let said =
        run(Command::new("curl").args(["-sSk", &format!("https://127.0.0.1:{}{SERVICES}", server.port)]));
    let status: serde_json::Value = serde_json::from_str(&said.good()).expect("a Status");
    assert_eq!((status["kind"].as_str(), status["code"].as_u64()), (Some("Status"), Some(401)));
}

#[test]
fn bad_input_is_answered_with_a_status_that_says_what_is_wrong() {
    let server = Server::start();
    let service = |fields: &str| format!("{{\"apiVersion\":\"v1\",\"kind\":\"Service\",{fields}}}");
    let cases = [
        ("malformed JSON", "application/json", "{\"apiVersion\"".to_owned(), 400, ""),
        ("malformed YAML", "application/yaml", "a: [1, 2".to_owned(), 400, ""),
        ("no body", "application/json", String::new(), 400, ""),
        ("no format of ours", "text/csv", "a,b".to_owned(), 415, ""),
        (
            "another kind",
            "application/json",
            "{\"apiVersion\":\"v1\",\"kind\":\"Pod\"}".to_owned(),
            400,
            "Pod",
        ),
        (
            "a wrong type",
            "application/json",
            service("\"metadata\":{\"name\":\"a\"},\"spec\":{\"ports\":\"x\"}"),
            400,
            "ports",
        ),
        (
            "an unknown field",
            "application/json",
            service("\"metadata\":{\"name\":\"a\"},\"spec\":{\"colour\":1}"),
            400,
            "unknown field \"spec.colour\"",
        ),
        (
            "a name that is no label",
            "application/json",
            service("\"metadata\":{\"name\":\"A_b\"},\"spec\":{\"ports\":[{\"port\":80}]}"),
            422,
            "a DNS-1035 label must consist of",
        ),
        (
            "an impossible port",
            "application/json",
            service("\"metadata\":{\"name\":\"a\"},\"spec\":{\"ports\":[{\"port\":70000}]}"),
            422,
            "must be between 1 and 65535, inclusive",
        ),
        ("broken protobuf", "application/vnd.kubernetes.protobuf", "k8s\0\u{1}\u{2}".to_owned(), 400, ""),
    ];
    for (what, media, body, code, text) in cases {
        let path = format!("{SERVICES}?fieldValidation=Strict");
        let (found, status) = server.request("POST", &path, media, body.as_bytes());
        assert_eq!((found, status["kind"].as_str()), (code, Some("Status")), "{what}: {status}");
        assert!(status["message"].as_str().unwrap_or_default().contains(text), "{what}: {status}");
    }
    let (code, status) = server.request("POST", SERVICES, "application/json", &vec![b' '; 4 << 20]);
    assert_eq!(code, 413, "{status}");
    for path in ["/apis/apps/v1beta1/deployments", "/api/v1/unicorns", "/api/v2/pods", "/nowhere"] {
        let (code, status) = server.request("GET", path, "application/json", b"");
        assert_eq!(
            (code, status["message"].as_str()),
            (404, Some("the server could not find the requested resource")),
            "{path}"
        );
    }
    assert_eq!(server.kubectl(&["get", "svc", "-o", "name"]).good(), "service/kubernetes");
}

#[test]
fn kubectl_explains_what_it_cannot_apply() {
    let server = Server::start();
    let old = "apiVersion: apps/v1beta1\nkind: Deployment\nmetadata: {name: a}\n";
    let said = server.with_input(&["apply", "-f", "-"], old).bad();
    assert!(said.contains("no matches for kind \"Deployment\" in version \"apps/v1beta1\""), "{said}");
    let typo = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{prot: 80, port: 80}]}\n";
    let said = server.with_input(&["apply", "-f", "-"], typo).bad();
    assert!(said.contains("unknown field \"spec.ports[0].prot\""), "{said}");
    let explained = server.kubectl(&["explain", "service.spec.clusterIP"]).good();
    assert!(explained.contains("FIELD: clusterIP <string>"), "{explained}");
}

#[test]
fn objects_are_created_changed_listed_watched_and_deleted() {
    let server = Server::start();
    server.kubectl(&["create", "configmap", "a", "--from-literal=x=1"]).good();
    server.kubectl(&["label", "configmap", "a", "tier=front"]).good();
    server.kubectl(&["annotate", "configmap", "a", "note=kept"]).good();
    server.kubectl(&["patch", "configmap", "a", "-p", "{\"data\":{\"y\":\"2\"}}"]).good();
    server
        .kubectl(&[
            "patch",
            "configmap",
            "a",
            "--type=json",
            "-p",
            "[{\"op\":\"remove\",\"path\":\"/data/x\"}]",
        ])
        .good();
    let data =
        server.kubectl(&["get", "configmap", "-l", "tier=front", "-o", "jsonpath={.items[*].data}"]).good();
    assert_eq!(data, "{\"y\":\"2\"}");
    assert_eq!(server.kubectl(&["get", "cm", "-l", "tier!=front", "-o", "name"]).good(), "");
    let old = server.kubectl(&["get", "configmap", "a", "-o", "yaml"]).good();
    server.kubectl(&["annotate", "configmap", "a", "note=changed", "--overwrite"]).good();
    let said = server.with_input(&["replace", "-f", "-"], &old).bad();
    assert!(
        said.contains(
            "the object has been modified; please apply your changes to the latest version and try again"
        ),
        "{said}"
    );
    let mut watch = server.command(&["get", "configmap", "-w", "--no-headers", "-o", "name"]);
    let child = watch.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("kubectl can be started");
    let mut watch = Process(child);
    let lines = std::io::BufRead::lines(std::io::BufReader::new(watch.0.stdout.take().expect("output")));
    let mut lines = lines.map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("configmap/a"));
    server.kubectl(&["create", "configmap", "b"]).good();
    assert_eq!(lines.next().as_deref(), Some("configmap/b"));
    server.kubectl(&["delete", "configmap", "a", "b"]).good();
    let gone = server.kubectl(&["get", "configmap", "a"]).bad();
    assert!(gone.contains("configmaps \"a\" not found"), "{gone}");
}

#[test]
fn an_unchanged_apply_changes_nothing() {
    let server = Server::start();
    let file = crate::harness::example("httpd-service.yaml");
    assert_eq!(server.kubectl(&["apply", "-f", &file]).good(), "service/httpd-svc created");
    let version =
        || server.kubectl(&["get", "svc", "httpd-svc", "-o", "jsonpath={.metadata.resourceVersion}"]).good();
    let before = version();
    assert_eq!(server.kubectl(&["apply", "-f", &file]).good(), "service/httpd-svc unchanged");
    assert_eq!(version(), before);
    assert_eq!(server.kubectl(&["diff", "-f", &file]).good(), "");
}

#[test]
fn what_was_written_survives_a_restart() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for round in 0..3 {
        let port = free_port();
        let mut command = Command::new(PROGRAM);
        command
            .args(["apiserver", "--bind", &format!("127.0.0.1:{port}"), "--data-dir"])
            .arg(folder.path().join("data"));
        let (process, _) = start_ready(&mut command, &folder.path().join("log")).expect("it starts");
        let server = Server { folder: tempfile::tempdir().expect("a folder"), port, _process: process };
        let kubectl = |arguments: &[&str]| {
            let mut command = Command::new("kubectl");
            command
                .env("KUBECONFIG", folder.path().join("data/kubeconfig"))
                .env("HOME", server.folder.path());
            run(command.args(arguments))
        };
        for earlier in 0..round {
            kubectl(&["get", "configmap", &format!("round-{earlier}")]).good();
        }
        kubectl(&["create", "configmap", &format!("round-{round}")]).good();
        // Dropping the server kills its process.
    }
}

#[test]
fn a_damaged_store_is_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::fs::write(folder.path().join("store.redb"), vec![b'x'; 9000]).expect("a file can be written");
    let mut command = Command::new(PROGRAM);
    command.args(["apiserver", "--bind", "127.0.0.1:0", "--data-dir"]).arg(folder.path());
    let said = run(&mut command).bad();
    assert!(said.contains("store.redb is damaged"), "{said}");
    assert!(said.contains("Put back a copy of it; or, to start with an empty cluster, move it"), "{said}");
}

#[test]
fn a_list_in_pages_is_the_state_of_its_first_page() {
    let server = Server::start();
    for n in 0..7 {
        server.kubectl(&["create", "configmap", &format!("page-{n}")]).good();
    }
    let path = "/api/v1/namespaces/default/configmaps";
    let names = |list: &serde_json::Value| {
        let items = list["items"].as_array().expect("items").iter();
        items.map(|item| item["metadata"]["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    let (_, first) = server.request("GET", &format!("{path}?limit=3"), "application/json", b"");
    assert_eq!(names(&first), ["page-0", "page-1", "page-2"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 4);
    server.kubectl(&["delete", "configmap", "page-5"]).good();
    server.kubectl(&["create", "configmap", "page-9"]).good();
    let token = first["metadata"]["continue"].as_str().expect("a token");
    let (_, rest) =
        server.request("GET", &format!("{path}?limit=9&continue={token}"), "application/json", b"");
    assert_eq!(names(&rest), ["page-3", "page-4", "page-5", "page-6"]);
    let (code, status) = server.request("GET", &format!("{path}?continue=nonsense"), "application/json", b"");
    assert_eq!(code, 400, "{status}");
}

#[test]
fn a_finalizer_holds_an_object_until_it_is_removed() {
    let server = Server::start();
    let manifest =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, finalizers: [example.org/wait]}\n";
    server.with_input(&["apply", "-f", "-"], manifest).good();
    server.kubectl(&["delete", "configmap", "held", "--wait=false"]).good();
    let marked =
        server.kubectl(&["get", "configmap", "held", "-o", "jsonpath={.metadata.deletionTimestamp}"]).good();
    assert!(!marked.is_empty());
    server
        .kubectl(&[
            "patch",
            "configmap",
            "held",
            "--type=merge",
            "-p",
            "{\"metadata\":{\"finalizers\":null}}",
        ])
        .good();
    assert!(!server.kubectl(&["get", "configmap", "held"]).ok);
}

#[test]
fn who_acts_as_somebody_has_the_rights_of_that_user_only() {
    let server = Server::start();
    let can =
        |arguments: &[&str]| server.kubectl(&[&["auth", "can-i", "delete", "nodes"], arguments].concat());
    assert_eq!(can(&[]).out, "yes");
    let nobody = can(&["--as=nobody"]);
    assert_eq!((nobody.ok, nobody.out.as_str()), (false, "no"), "{}", nobody.err);
    assert_eq!(can(&["--as=root", "--as-group=system:masters"]).out, "yes");
    let who =
        server.kubectl(&["auth", "whoami", "--as", "jane", "--as-group", "dev", "--as-uid", "17"]).good();
    for part in ["jane", "dev", "system:authenticated", "17"] {
        assert!(who.contains(part), "{part} is not in:\n{who}");
    }
    let refused = server.kubectl(&["get", "secrets", "--as=jane"]);
    assert!(
        !refused.ok && refused.err.contains("User \"jane\" cannot list resource \"secrets\""),
        "{}",
        refused.err
    );
}

//! DNS over TLS (RFC 7858) and over HTTPS (RFC 8484), asked by `dig`.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use dns::{Config, Setup, Sockets, Source};
use service::manifest::Objects;
use tokio::sync::oneshot;

const OBJECTS: &str = "
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.0.7, ports: [{name: http, port: 80}]}
";

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts a server with a Corefile, and a certificate in a folder.
async fn start(corefile: &str, folder: &Path) -> tokio::task::JoinHandle<()> {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), key.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.signing_key.serialize_pem()).unwrap();
    let config = Config::from_corefile(corefile, folder).unwrap();
    let sockets = Sockets::open(&config).unwrap();
    let mut objects = Objects::default();
    objects.read(OBJECTS).unwrap();
    let source = Source::Objects(objects.into());
    let (tell, ready) = oneshot::channel();
    let setup = Setup { config, corefile: None, reload: None, source, sockets };
    let server = tokio::spawn(async move {
        dns::run(setup, tell, std::future::pending()).await.unwrap();
    });
    ready.await.unwrap();
    server
}

async fn dig(arguments: String) -> String {
    let dig = move || {
        let arguments = arguments.split(' ').map(str::to_owned).collect::<Vec<_>>();
        Command::new("dig").args(["@127.0.0.1", "+time=3", "+tries=1", "+short"]).args(arguments).output()
    };
    let output = tokio::task::spawn_blocking(dig).await.unwrap();
    String::from_utf8(output.expect("dig is part of the package dnsutils").stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_answered_over_tls_and_https() {
    let folder = tempfile::tempdir().unwrap();
    let (tls, https) = (free_port(), free_port());
    let corefile = format!(
        "tls://.:{tls} https://.:{https} {{\n bind 127.0.0.1\n tls cert.pem key.pem\n kubernetes cluster.local\n}}"
    );
    let _server = start(&corefile, folder.path()).await;
    let name = "web.default.svc.cluster.local";
    assert_eq!(dig(format!("+tls -p {tls} {name}")).await, "10.96.0.7\n");
    assert_eq!(dig(format!("+https -p {https} {name}")).await, "10.96.0.7\n", "POST");
    assert_eq!(dig(format!("+https-get -p {https} {name}")).await, "10.96.0.7\n", "GET");
    assert!(!dig(format!("+tcp -p {tls} {name}")).await.contains("10.96.0.7"), "not without TLS");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_about_a_certificate_names_its_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.pem"), "nothing").unwrap();
    std::fs::write(folder.path().join("k.pem"), "nothing").unwrap();
    let corefile = format!("tls://.:{} {{\n bind 127.0.0.1\n tls c.pem k.pem\n}}", free_port());
    let config = Config::from_corefile(&corefile, folder.path()).unwrap();
    let sockets = Sockets::open(&config).unwrap();
    let (tell, _ready) = oneshot::channel();
    let setup = Setup { config, corefile: None, reload: None, source: Source::Corefile, sockets };
    let error = dns::run(setup, tell, std::future::pending()).await.unwrap_err();
    assert!(error.to_string().contains(".pem cannot be used for TLS"), "{error}");
}

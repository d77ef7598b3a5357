//! A server under test, and `dig`.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use dns::{Config, Input, Setup, Sockets, Source};
use serde_json::{Value, json};
use service::Event;
use service::objects::Namespace;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Objects that a test may give a server before the server takes them in.
const INPUTS: usize = 4096;

/// A server whose objects come from the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    inputs: mpsc::Sender<Input>,
    ready: oneshot::Receiver<()>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Starts a server without objects; the first lists are not complete.
    pub(crate) fn start(upstreams: Vec<SocketAddr>) -> Self {
        Self::start_on(sockets(), Config::of_cluster("cluster.local", &upstreams).unwrap())
    }

    /// Starts a server with a Corefile, which it reads again from the file `corefile` if that is given.
    pub(crate) async fn following(text: &str, corefile: Option<&Path>) -> Self {
        let config = Config::from_corefile(text, Path::new("/")).unwrap();
        let server = Self::of(sockets(), config, corefile.map(Path::to_path_buf));
        server.when_ready().await
    }

    /// Starts a server that listens where its Corefile says, at a port of 127.0.0.1.
    pub(crate) async fn listening(corefile: &Path, port: u16) -> Self {
        let config =
            Config::from_corefile(&std::fs::read_to_string(corefile).unwrap(), Path::new("/")).unwrap();
        let sockets = Sockets::open(&config).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Self::on(sockets, address, config, Some(corefile.to_path_buf())).when_ready().await
    }

    async fn when_ready(mut self) -> Self {
        tokio::time::timeout(Duration::from_secs(30), &mut self.ready).await.unwrap().unwrap();
        self
    }

    /// Starts a server on sockets, with a configuration.
    pub(crate) fn start_on(sockets: (UdpSocket, TcpListener), config: Config) -> Self {
        Self::of(sockets, config, None)
    }

    fn of((udp, tcp): (UdpSocket, TcpListener), config: Config, corefile: Option<PathBuf>) -> Self {
        let address = udp.local_addr().unwrap();
        Self::on(Sockets::of(udp, tcp).unwrap(), address, config, corefile)
    }

    fn on(sockets: Sockets, address: SocketAddr, config: Config, corefile: Option<PathBuf>) -> Self {
        let (inputs, events) = mpsc::channel(INPUTS);
        let (tell, ready) = oneshot::channel();
        let events = futures::stream::unfold(events, async |mut events| Some((events.recv().await?, events)));
        let task = tokio::spawn(async move {
            let setup = Setup { config, corefile, reload: None, source: Source::events(events), sockets };
            dns::run(setup, tell, std::future::pending()).await.unwrap();
        });
        Self { address, inputs, ready, task }
    }

    /// Starts a server with Services and EndpointSlices in the namespace `default`.
    pub(crate) async fn with(services: &[Value], slices: &[Value], upstreams: Vec<SocketAddr>) -> Self {
        let mut server = Self::start(upstreams);
        server.know(services, slices).await;
        server
    }

    /// Gives a server the first lists: Services and EndpointSlices in the namespace `default`.
    pub(crate) async fn know(&mut self, services: &[Value], slices: &[Value]) {
        self.feed(Input::Namespace(Event::Apply(Namespace::named("default"))));
        services.iter().for_each(|object| self.service(object));
        slices.iter().for_each(|object| self.slice(object));
        self.feed(Input::Namespace(Event::Synced));
        self.feed(Input::Service(Event::Synced));
        self.feed(Input::Slice(Event::Synced));
        tokio::time::timeout(Duration::from_secs(30), &mut self.ready).await.unwrap().unwrap();
    }

    pub(crate) fn feed(&self, input: Input) {
        self.inputs.try_send(input).unwrap();
    }

    pub(crate) fn service(&self, object: &Value) {
        self.feed(Input::Service(Event::Apply(serde_json::from_value(object.clone()).unwrap())));
    }

    pub(crate) fn slice(&self, object: &Value) {
        self.feed(Input::Slice(Event::Apply(serde_json::from_value(object.clone()).unwrap())));
    }

    /// What `dig` prints for these arguments.
    pub(crate) async fn dig(&self, arguments: &str) -> String {
        dig(self.address, arguments).await
    }

    /// The lines of `dig +short`, in order.
    pub(crate) async fn short(&self, arguments: &str) -> Vec<String> {
        let mut lines: Vec<_> =
            self.dig(&format!("+short {arguments}")).await.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

/// What `dig` prints for these arguments when it asks the server at an address.
pub(crate) async fn dig(at: SocketAddr, arguments: &str) -> String {
    let (server, port) = (format!("@{}", at.ip()), at.port().to_string());
    let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
    let dig = move || {
        let fixed = [&server, "-p", &port, "+time=5", "+tries=1"];
        Command::new("dig").args(fixed).args(arguments).output()
    };
    let output = tokio::task::spawn_blocking(dig).await.unwrap();
    String::from_utf8(output.expect("dig is part of the package dnsutils").stdout).unwrap()
}

/// A datagram socket and a listener on the same port of loopback.
pub(crate) fn sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

/// A Service of the namespace `default`.
pub(crate) fn service(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec})
}

/// An EndpointSlice of a Service in the namespace `default`, of ready endpoints serving port 80 as `http`.
pub(crate) fn slice(name: &str, service: &str, addresses: &[&str]) -> Value {
    let family = if addresses.iter().all(|address| address.contains(':')) { "IPv6" } else { "IPv4" };
    let endpoints: Vec<_> = addresses.iter().map(|address| json!({"addresses": [address]})).collect();
    json!({
        "metadata": {
            "name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": family, "ports": [{"name": "http", "port": 80}], "endpoints": endpoints,
    })
}

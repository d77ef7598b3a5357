//! The Kubernetes API over HTTP: authentication, admission and registry rules over `api` and `store`.
//!
//! ```text
//!   TLS ── http::serve ─┐
//!                       ├─ http::dispatch ── http::objects ── registry ── store
//!   in-process client ──┘        │                             │
//!                                └─ http::connect → node       └─ service (addresses, node ports)
//! ```
//!
//! Invariants:
//! * Nothing here knows a controller, a proxy or a node agent: they are clients like kubectl.
//! * Every answer that is no success is a `Status`.
//! * A stored object is its final JSON; reads hand out those bytes.

mod authorization;
mod bootstrap;
mod expiry;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod http;
mod identity;
mod memory;
mod object;
pub mod pki;
mod registry;
mod service;
mod sys;
mod workshop;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::schema::Schema;
use api::status::Status;
use futures::future::BoxFuture;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

pub use self::http::connect::{ByteStream, Nodes};
use self::http::connections::Connections;
pub use self::http::respond::Body;
use self::http::unread::Unread;
pub use self::identity::User;
pub use self::service::{IpRange, PortRange, RangeError};

use pki::{Authority, Leaf, PkiError};
use registry::Registry;
use service::Allocator;

/// The version of the Kubernetes API that this server speaks.
pub const KUBERNETES_VERSION: &str = "v1.36.0";

/// The answer to `/version`.
fn version() -> Value {
    json!({
        "major": "1", "minor": "36",
        "gitVersion": format!("{KUBERNETES_VERSION}+portolan.{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": "", "gitTreeState": "", "buildDate": "",
        "goVersion": "none (Rust)", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, go_architecture()),
    })
}

/// The machine's architecture under the name that Kubernetes uses.
pub fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// What a server needs to know.
#[derive(Debug)]
pub struct Config {
    /// Where the store and the certificates live.
    pub data_dir: PathBuf,
    /// The addresses that Services get.
    pub service_range: IpRange,
    /// The ports that Services get on every node.
    pub node_ports: PortRange,
    /// The DNS domain of the cluster, for the server's certificate.
    pub cluster_domain: String,
    /// Where pods reach this server: what stands behind the Service `kubernetes`. Loopback
    /// addresses are left out.
    pub advertised: Vec<SocketAddr>,
    /// Further addresses that clients use.
    pub addresses: Vec<IpAddr>,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] store::local::OpenError),
    /// The certificates cannot be used.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The store is that of a cluster with other addresses.
    #[error(
        "the Service kubernetes of this store has the address {found}, and not {wanted} as --service-cidr {range} \
         has it; start with the range that the store was made with"
    )]
    ServiceRange {
        /// The address that the Service has.
        found: String,
        /// The first address of the range.
        wanted: IpAddr,
        /// The range that was asked for.
        range: IpRange,
    },
    /// The first objects could not be made.
    #[error("the cluster's first objects could not be written: {0}")]
    Bootstrap(Status),
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    registry: Arc<Registry>,
    nodes: Box<dyn Nodes>,
    connections: Connections,
    unread: Unread,
    ready: AtomicBool,
}

impl Shared {
    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}

/// A server that has its objects and its certificates, but serves nobody yet.
pub struct ApiServer {
    shared: Arc<Shared>,
    authority: Authority,
    tls: TlsAcceptor,
    advertised: Vec<SocketAddr>,
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiServer").field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// How a caller in another network namespace reaches an address.
pub trait Dial: Send + Sync + std::fmt::Debug {
    /// Opens a plain connection.
    fn dial<'a>(&'a self, node: &'a str, address: SocketAddr) -> BoxFuture<'a, io::Result<TcpStream>>;
}

/// Connects from wherever this process is.
#[derive(Debug)]
pub struct DirectDial;

impl Dial for DirectDial {
    fn dial<'a>(&'a self, _: &'a str, address: SocketAddr) -> BoxFuture<'a, io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(address))
    }
}

/// A node's agent has this long to accept a connection.
const AGENT_TIMEOUT: Duration = Duration::from_secs(10);

/// TLS to the nodes' agents over any way of dialling.
struct TlsNodes {
    dial: Box<dyn Dial>,
    tls: Arc<ClientConfig>,
}

impl std::fmt::Debug for TlsNodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsNodes").field("dial", &self.dial).finish_non_exhaustive()
    }
}

impl Nodes for TlsNodes {
    fn connect<'a>(
        &'a self,
        node: &'a str,
        address: SocketAddr,
    ) -> BoxFuture<'a, io::Result<Box<dyn ByteStream>>> {
        Box::pin(async move {
            let connected = async {
                let stream = self.dial.dial(node, address).await?;
                stream.set_nodelay(true)?;
                let name = ServerName::IpAddress(address.ip().into());
                TlsConnector::from(self.tls.clone()).connect(name, stream).await
            };
            let stream = tokio::time::timeout(AGENT_TIMEOUT, connected).await??;
            Ok(Box::new(stream) as Box<dyn ByteStream>)
        })
    }
}

/// The way into a server for parts of the same process: requests without a socket.
#[derive(Clone, Debug)]
pub struct InProcess {
    shared: Arc<Shared>,
}

impl InProcess {
    /// A client that the server knows as `user`. Must be called on the runtime that will use it.
    pub fn client(&self, user: &str) -> kube::Client {
        let service =
            self::http::in_process::Caller { shared: self.shared.clone(), user: User::in_process(user) };
        kube::Client::new(service, "default")
    }
}

impl ApiServer {
    /// Opens the data directory and makes what every cluster has.
    ///
    /// # Errors
    /// A store or certificates that cannot be used; the texts say what to do.
    pub async fn open(config: Config, dial: Box<dyn Dial>) -> Result<Self, Error> {
        let authority = Authority::open(&config.data_dir.join("pki"))?;
        let store = store::local::LocalStore::open(
            &config.data_dir.join("store.redb"),
            store::local::Retention::default(),
        )?;
        let allocator = Allocator::new(config.service_range.clone(), config.node_ports);
        let registry =
            Registry::open(Schema::builtin(), Arc::new(store), allocator).await.map_err(Error::Bootstrap)?;
        if let Some(found) = bootstrap::service_address(&registry).await.map_err(Error::Bootstrap)? {
            let (wanted, range) = (config.service_range.first(), config.service_range.clone());
            if found != wanted.to_string() {
                return Err(Error::ServiceRange { found, wanted, range });
            }
        }
        bootstrap::run(&registry, &config.advertised).await.map_err(Error::Bootstrap)?;
        let domain = &config.cluster_domain;
        let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        let names: Vec<String> = names
            .into_iter()
            .map(str::to_owned)
            .chain([format!("kubernetes.default.svc.{domain}")])
            .collect();
        let mut addresses =
            vec![config.service_range.first(), "127.0.0.1".parse().unwrap_or(IpAddr::from([127, 0, 0, 1]))];
        addresses.extend(config.advertised.iter().map(SocketAddr::ip));
        addresses.extend(config.addresses);
        addresses.sort_unstable();
        addresses.dedup();
        let tls = authority.server_tls(&authority.server(&names, &addresses)?)?;
        let agent = authority.client("kube-apiserver-kubelet-client", identity::MASTERS)?;
        let nodes = TlsNodes { dial, tls: Arc::new(authority.agent_tls(&agent)?) };
        let shared = Shared {
            registry: Arc::new(registry),
            nodes: Box::new(nodes),
            connections: Connections::default(),
            unread: Unread::default(),
            ready: AtomicBool::new(false),
        };
        let tls = TlsAcceptor::from(Arc::new(tls));
        Ok(Self { shared: Arc::new(shared), authority, tls, advertised: config.advertised })
    }

    /// The cluster's authority.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// A certificate by which its holder may do everything.
    ///
    /// # Errors
    /// The certificate cannot be made.
    pub fn administrator(&self) -> Result<Leaf, PkiError> {
        self.authority.client("kubernetes-admin", identity::MASTERS)
    }

    /// The way into this server for parts of the same process.
    pub fn in_process(&self) -> InProcess {
        InProcess { shared: self.shared.clone() }
    }

    /// Serves the listeners until `shutdown`.
    pub async fn serve(self, listeners: Vec<TcpListener>, shutdown: impl Future<Output = ()>) {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let mut tasks = tokio::task::JoinSet::new();
        for listener in listeners {
            let mut stopped = stopped.clone();
            let until = async move {
                drop(stopped.wait_for(|stop| *stop).await);
            };
            tasks.spawn(self::http::serve::serve(self.shared.clone(), listener, self.tls.clone(), until));
        }
        let shared = self.shared.clone();
        let upkeep = tokio::spawn(async move {
            let registry = &shared.registry;
            let expiry = async { while expiry::run(registry).await.is_ok() {} };
            let addresses = bootstrap::keep(registry, &self.advertised);
            tokio::join!(expiry, addresses, shared.unread.sweep(), memory::give_back());
        });
        self.shared.ready.store(true, Ordering::Relaxed);
        shutdown.await;
        upkeep.abort();
        stop.send_replace(true);
        while tasks.join_next().await.is_some() {}
    }
}

//! One upstream resolver.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use prometheus::{HistogramVec, IntCounter};
use rustls::ClientConfig;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::health::{Health, HealthState};
use super::id::Ids;
use super::metrics::{ForwardMetrics, PROXY};
use super::udp::{local, reply_to};
use super::{https, stream, tls, udp};
use crate::plugin::forward::ForwardOptions;
use crate::wire::{Message, Question, kind, rcode};

/// How long a resolver may take to answer a probe.
const PROBE: Duration = Duration::from_secs(1);

/// The transport to a resolver.
#[derive(Debug, Clone)]
pub(super) enum UpstreamTransport {
    /// UDP, and TCP for replies that are truncated.
    Udp,
    /// TCP only.
    Tcp,
    /// DNS over TLS, with the name that the certificate must have.
    Tls(Arc<ClientConfig>, String),
    /// DNS over HTTPS, with the name that the certificate must have.
    Https(Arc<ClientConfig>, String),
}

impl UpstreamTransport {
    /// The label `proto` of metrics.
    fn name(&self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls(..) => "tcp-tls",
            Self::Https(..) => "https",
        }
    }
}

/// An upstream resolver.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Its address.
    pub(crate) to: SocketAddr,
    pub(super) health: Health,
    transport: UpstreamTransport,
    source: Option<IpAddr>,
    expire: Duration,
    max_fails: u32,
    ids: Ids,
    stream: stream::Connection,
    https: https::Connection,
    took: HistogramVec,
    failed_probes: IntCounter,
    kept: IntCounter,
    opened: IntCounter,
}

impl Upstream {
    /// A resolver that no query was sent to yet.
    pub(super) fn new(
        to: SocketAddr,
        transport: UpstreamTransport,
        options: &ForwardOptions,
        metrics: &ForwardMetrics,
    ) -> Self {
        let label = to.to_string();
        let proto = [PROXY, &label, transport.name()];
        Self {
            to,
            health: Health::default(),
            source: options.source,
            expire: options.expire,
            max_fails: options.max_fails,
            ids: Ids::default(),
            stream: stream::Connection::default(),
            https: https::Connection::default(),
            took: metrics.took.clone(),
            failed_probes: metrics.failed_probes.with_label_values(&[PROXY, &label]),
            kept: metrics.kept.with_label_values(&proto),
            opened: metrics.opened.with_label_values(&proto),
            transport,
        }
    }

    /// The state of its health.
    pub(super) fn state(&self) -> HealthState {
        self.health.state(self.max_fails)
    }

    /// Asks a question, and notes the time until the reply came.
    ///
    /// # Errors
    /// When it cannot be reached, or its message is no reply to the question.
    pub(crate) async fn ask(&self, question: &Question) -> io::Result<Vec<u8>> {
        let begun = Instant::now();
        let mut reply = self.exchange(question, true).await?;
        // A resolver without EDNS replies that it cannot read the query (RFC 6891, 7).
        let misread = |message: Message<'_>| matches!(message.rcode(), rcode::FORMERR | rcode::NOTIMP);
        if Message::read(&reply).is_ok_and(misread) {
            reply = self.exchange(question, false).await?;
        }
        let took = begun.elapsed();
        let code = Message::read(&reply).ok().and_then(|message| rcode::name(message.rcode()));
        let labels = [PROXY, &self.to.to_string(), code.unwrap_or("other")];
        self.took.with_label_values(&labels).observe(took.as_secs_f64());
        self.answered(took);
        Ok(reply)
    }

    fn answered(&self, took: Duration) {
        if self.health.answered(took, self.max_fails) {
            tracing::info!(upstream = %self.to, "an upstream resolver answers again");
        }
    }

    async fn exchange(&self, question: &Question, edns: bool) -> io::Result<Vec<u8>> {
        if matches!(self.transport, UpstreamTransport::Udp) {
            let (cut, whole) = udp::exchange(self.to, self.source, question, (&self.ids, edns)).await?;
            if whole {
                return Ok(cut);
            }
            // If the resolver has no TCP, the truncated reply is better than none; the client sees that it is
            // truncated.
            return Ok(self.on_connection(question, edns).await.unwrap_or(cut));
        }
        self.on_connection(question, edns).await
    }

    async fn on_connection(&self, question: &Question, edns: bool) -> io::Result<Vec<u8>> {
        let packet = question.packet(0, edns);
        let (reply, there) = match &self.transport {
            UpstreamTransport::Udp | UpstreamTransport::Tcp => {
                self.stream.exchange(&packet, self.expire, self.connect()).await?
            }
            UpstreamTransport::Tls(config, name) => {
                self.stream.exchange(&packet, self.expire, self.secure(config, name)).await?
            }
            UpstreamTransport::Https(config, name) => {
                self.https.exchange((name, self.to), packet, self.expire, self.secure(config, name)).await?
            }
        };
        if there { &self.kept } else { &self.opened }.inc();
        match reply_to(question, &reply) {
            Some(_) => Ok(reply),
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "it answers another question")),
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let socket = if self.to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if self.source.is_some() {
            socket.bind(local(self.to, self.source))?;
        }
        socket.set_nodelay(true)?;
        socket.connect(self.to).await
    }

    async fn secure(
        &self,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let stream = self.connect().await?;
        TlsConnector::from(config.clone()).connect(tls::name(name)?, stream).await
    }
}

/// Notes that a resolver did not answer a query, and starts probes that end with its first answer. Does nothing with
/// `max_fails 0`, where resolvers are never taken for down.
pub(super) fn suspect(upstream: &Arc<Upstream>, options: &ForwardOptions) {
    if upstream.max_fails > 0 && upstream.health.suspect() {
        let (every, recursion) = (options.health_check.every, options.health_check.recursion);
        let question = Question::new(&options.health_check.name, kind::NS, recursion);
        tokio::spawn(probe(Arc::downgrade(upstream), question, every));
    }
}

async fn probe(upstream: Weak<Upstream>, question: Question, every: Duration) {
    while let Some(upstream) = upstream.upgrade().filter(|upstream| upstream.health.is_suspect()) {
        let begun = Instant::now();
        match timeout(PROBE, upstream.exchange(&question, false)).await {
            Ok(Ok(_)) => return upstream.answered(begun.elapsed()),
            Ok(Err(_)) | Err(_) => {
                upstream.failed_probes.inc();
                if upstream.health.failed(upstream.max_fails) {
                    tracing::warn!(
                        upstream = %upstream.to,
                        "an upstream resolver does not answer; until it does, others are asked first; check that \
                         it can be reached"
                    );
                }
            }
        }
        drop(upstream);
        tokio::time::sleep(every).await;
    }
}

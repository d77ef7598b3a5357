//! Connections to the API server on which a client can do what a library would not.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use base64::Engine as _;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The body of a request.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// How a client reaches the server.
#[derive(Clone)]
pub(crate) struct Wire {
    server: SocketAddr,
    from: IpAddr,
    tls: Arc<ClientConfig>,
}

impl Wire {
    /// The administrator of a kubeconfig, connecting from an address of the loopback network.
    pub(crate) fn new(kubeconfig: &Path, server: SocketAddr, from: IpAddr) -> anyhow::Result<Self> {
        let config: Value = serde_saphyr::from_str(&std::fs::read_to_string(kubeconfig)?)?;
        let decode = |value: &Value| -> anyhow::Result<Vec<u8>> {
            let text = value.as_str().context("the kubeconfig lacks a certificate or key")?;
            Ok(base64::engine::general_purpose::STANDARD.decode(text)?)
        };
        let (cluster, user) = (&config["clusters"][0]["cluster"], &config["users"][0]["user"]);
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(&decode(&cluster["certificate-authority-data"])?) {
            roots.add(root?)?;
        }
        let certificate = decode(&user["client-certificate-data"])?;
        let chain = CertificateDer::pem_slice_iter(&certificate).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(&decode(&user["client-key-data"])?)?;
        let mut tls =
            ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(chain, key)?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { server, from, tls: Arc::new(tls) })
    }

    /// A connection on which nothing was said yet.
    pub(crate) async fn connect(&self) -> anyhow::Result<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(self.from, 0))?;
        let stream = socket.connect(self.server).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::IpAddress(self.server.ip().into());
        Ok(TlsConnector::from(self.tls.clone()).connect(name, stream).await?)
    }

    /// A connection of HTTP/2.
    pub(crate) async fn http2(&self) -> anyhow::Result<SendRequest<Body>> {
        let stream = TokioIo::new(self.connect().await?);
        let (sender, driver) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await?;
        tokio::spawn(driver);
        Ok(sender)
    }
}

/// A body that is whole.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Sends a request with a whole body; the answer's body is not read.
pub(crate) async fn send(
    sender: &mut SendRequest<Body>,
    method: &str,
    path: &str,
    media: &str,
    body: Body,
) -> anyhow::Result<Response<Incoming>> {
    let request = Request::builder().method(method).uri(format!("https://server{path}"));
    let request = request.header("content-type", media).body(body)?;
    Ok(sender.send_request(request).await?)
}

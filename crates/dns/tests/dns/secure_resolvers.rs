//! Upstream resolvers over TLS (RFC 7858) and HTTPS (RFC 8484), with self-signed certificates.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::harness::Server;
use crate::scripted::{good, look_up};

/// Starts a resolver over TLS for `dns.example`, and writes its certificate to a file.
async fn resolver<F: Future<Output = ()> + Send + 'static>(
    certificate: &Path,
    protocol: &[u8],
    serve: fn(TlsStream<TcpStream>) -> F,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let made = rcgen::generate_simple_self_signed(vec!["dns.example".to_owned()]).unwrap();
    std::fs::write(certificate, made.cert.pem()).unwrap();
    let chain = vec![CertificateDer::from(made.cert.der().to_vec())];
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![protocol.to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream));
            }
        }
    });
    (address, connections)
}

async fn tls(mut stream: TlsStream<TcpStream>) {
    while let Ok(length) = stream.read_u16().await {
        let mut packet = vec![0; usize::from(length)];
        stream.read_exact(&mut packet).await.unwrap();
        let reply = good(&packet);
        stream.write_u16(reply.len() as u16).await.unwrap();
        stream.write_all(&reply).await.unwrap();
        stream.flush().await.unwrap();
    }
}

async fn https(stream: TlsStream<TcpStream>) {
    let answer = service_fn(|request: http::Request<hyper::body::Incoming>| async move {
        assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/dns-query"));
        assert_eq!(request.headers()["content-type"], "application/dns-message");
        let packet = request.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(packet[..2], [0, 0], "the id is 0 (RFC 8484, 4.1)");
        Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from(good(&packet)))))
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    drop(connection.serve_connection(TokioIo::new(stream), answer).await);
}

async fn check(scheme: &str, address: SocketAddr, certificate: &Path, connections: &AtomicUsize) {
    let text = |name: &str| {
        format!(
            ".:53 {{\n forward . {scheme}://{address} {{\n tls {}\n tls_servername {name}\n}}\n}}",
            certificate.display()
        )
    };
    let server = Server::following(&text("dns.example"), None).await;
    let names: Vec<_> = (0..20).map(|number| format!("n{number}.example.com")).collect();
    let seen = futures::future::join_all(names.iter().map(|name| look_up(server.address, name))).await;
    assert!(seen.iter().all(|seen| (seen.rcode, seen.answers) == (0, 1)), "{seen:?}");
    assert_eq!(connections.load(Ordering::Relaxed), 1, "one connection for all");
    let server = Server::following(&text("other.example"), None).await;
    assert_eq!(
        look_up(server.address, "a.example.com").await.rcode,
        2,
        "the certificate is for another name"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_is_asked_over_tls_if_its_certificate_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = folder.path().join("ca.crt");
    let (address, connections) = resolver(&certificate, b"dot", tls).await;
    check("tls", address, &certificate, &connections).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_is_asked_over_https_if_its_certificate_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = folder.path().join("ca.crt");
    let (address, connections) = resolver(&certificate, b"h2", https).await;
    check("https", address, &certificate, &connections).await;
}

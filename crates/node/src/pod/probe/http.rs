//! HTTP and HTTPS probes: any status from 200 to 399 is healthy. Certificates are not verified, as Kubernetes
//! has it: a probe asks for life, not for identity.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::HTTPGetAction;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// Sends the request of `action` to `address`, unless the action names a host of its own.
pub(in super::super) async fn get(action: &HTTPGetAction, address: IpAddr, port: u16) -> Result<(), String> {
    let host = action.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| address.to_string());
    let stream = TcpStream::connect((host.as_str(), port)).await;
    let stream = stream.map_err(|error| format!("dial tcp {host}:{port}: {error}"))?;
    let status = if action.scheme.as_deref() == Some("HTTPS") {
        let name = ServerName::try_from(host.clone()).map_err(|error| error.to_string())?;
        let stream = tokio_rustls::TlsConnector::from(any_certificate()?).connect(name, stream).await;
        exchange(stream.map_err(|error| error.to_string())?, action, &host, port).await?
    } else {
        exchange(stream, action, &host, port).await?
    };
    if (200..400).contains(&status.as_u16()) {
        Ok(())
    } else {
        Err(format!("HTTP probe failed with statuscode: {}", status.as_u16()))
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    action: &HTTPGetAction,
    host: &str,
    port: u16,
) -> Result<StatusCode, String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let mut request = Request::get(super::path(action));
    let headers = action.http_headers.as_deref().unwrap_or_default();
    let has = |name: &str| headers.iter().any(|header| header.name.eq_ignore_ascii_case(name));
    for (name, value) in [("host", format!("{host}:{port}")), ("user-agent", "kube-probe/1.36".into())] {
        if !has(name) {
            request = request.header(name, value);
        }
    }
    for header in headers {
        request = request.header(&header.name, &header.value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let answer = sender.send_request(request);
    tokio::pin!(answer);
    // The connection makes progress only while it is polled beside the request, and may end with the answer.
    let answer = tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    };
    let closed = |error: hyper::Error| match error.is_canceled() || error.is_incomplete_message() {
        true => "the server closed the connection without an answer".to_owned(),
        false => error.to_string(),
    };
    answer.map(|answer| answer.status()).map_err(closed)
}

fn any_certificate() -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Takes every certificate.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Probes a server that gives this answer to each request and closes the connection at once.
    async fn probe(answer: &'static str, times: usize) -> Vec<Result<(), String>> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let mut results = Vec::new();
        for _ in 0..times {
            results.push(get(&HTTPGetAction::default(), address.ip(), address.port()).await);
        }
        server.abort();
        results
    }

    #[tokio::test]
    async fn a_server_that_closes_with_its_answer_has_answered() {
        let results = probe("HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nhello", 50).await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
    }

    #[tokio::test]
    async fn only_200_to_399_is_healthy() {
        assert_eq!(probe("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", 1).await, [Ok(())]);
        let failed = "HTTP probe failed with statuscode: 503".to_owned();
        assert_eq!(probe("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", 1).await, [Err(failed)]);
        let closed = "the server closed the connection without an answer".to_owned();
        assert_eq!(probe("", 1).await, [Err(closed)]);
    }
}

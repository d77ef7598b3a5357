//! The certificate of a server block.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::Scheme;
use crate::error::Error;
use crate::plugin::tls::TlsFiles;

/// The TLS configuration of a server block for queries by a scheme.
///
/// # Errors
/// [`Error::File`] when a file cannot be read, [`Error::Certificate`] when it holds something else.
pub(crate) fn read(tls: &TlsFiles, scheme: Scheme) -> Result<Arc<ServerConfig>, Error> {
    let file = |path: &std::path::Path| {
        std::fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })
    };
    type Source = Box<dyn std::error::Error + Send + Sync>;
    let wrong = |path: &std::path::Path, source: Source| Error::Certificate { path: path.to_owned(), source };
    let chain = file(&tls.certificate)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(&tls.certificate, error.into()))?;
    let key =
        PrivateKeyDer::from_pem_slice(&file(&tls.key)?).map_err(|error| wrong(&tls.key, error.into()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|error| wrong(&tls.certificate, error.into()))?;
    config.alpn_protocols = match scheme {
        Scheme::Https => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Scheme::Dns | Scheme::Tls => vec![b"dot".to_vec()],
    };
    Ok(Arc::new(config))
}

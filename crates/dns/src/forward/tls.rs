//! The TLS configuration for resolvers over TLS and HTTPS (RFC 7858, RFC 8484).

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::plugin::forward::ForwardOptions;

/// The TLS configuration of a directive: the certificates that it trusts, and its own. `protocol` is announced by
/// ALPN.
///
/// # Errors
/// When a file cannot be read or holds no certificate or key.
pub(super) fn config(options: &ForwardOptions, protocol: Option<&[u8]>) -> io::Result<Arc<ClientConfig>> {
    let mut trusted = RootCertStore::empty();
    match &options.ca {
        Some(path) => {
            for certificate in certificates(path)? {
                trusted.add(certificate).map_err(|error| unfit(path, error))?;
            }
        }
        // The certificates that the machine trusts. Without any the connection to each resolver fails, and the error
        // says why.
        None => {
            trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(trusted);
    let mut config = match &options.identity {
        None => builder.with_no_client_auth(),
        Some([certificate, key]) => {
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unfit(key, error))?;
            builder
                .with_client_auth_cert(certificates(certificate)?, private)
                .map_err(|error| unfit(key, error))?
        }
    };
    config.alpn_protocols.extend(protocol.map(<[u8]>::to_vec));
    Ok(Arc::new(config))
}

/// The name that the certificate of a resolver must have.
///
/// # Errors
/// When the text is neither a domain name nor an address.
pub(super) fn name(text: &str) -> io::Result<ServerName<'static>> {
    ServerName::try_from(text.to_owned()).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).map_err(|error| unfit(path, error))?;
    read.collect::<Result<_, _>>().map_err(|error| unfit(path, error))
}

fn unfit(path: &Path, error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
}

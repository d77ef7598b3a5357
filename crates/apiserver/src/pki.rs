//! The cluster's certificates: one authority, made at first start and kept in the data directory.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// How long the authority is valid.
const CA_DAYS: i64 = 3650;
/// How long the certificates that it signs are valid. They are made anew at each start.
const LEAF_DAYS: i64 = 365;
/// Clocks that run behind see a certificate as valid from the start.
const CLOCK_SKEW_HOURS: i64 = 1;

/// Certificates that could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file could not be read or written.
    #[error("the certificate file {} cannot be used: {source}; check its permissions and the free space", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A stored key or certificate is damaged.
    #[error("the cluster's authority in {} is damaged ({reason}); restore ca.crt and ca.key, or remove both to make a new cluster authority", folder.display())]
    Damaged {
        /// The folder with the authority.
        folder: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A certificate could not be made.
    #[error("a certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
    /// TLS refuses what was made.
    #[error("TLS could not be set up: {0}")]
    Tls(String),
}

/// The cluster's certificate authority.
pub struct Authority {
    /// Its certificate in PEM: what clients trust.
    pub certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// A signed certificate with its key, both in PEM.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key.
    pub key_pem: String,
}

impl Authority {
    /// Reads the authority from `folder`, or makes it there.
    ///
    /// # Errors
    /// Files that cannot be used, or that do not fit together.
    pub fn open(folder: &Path) -> Result<Self, PkiError> {
        let (certificate_file, key_file) = (folder.join("ca.crt"), folder.join("ca.key"));
        let damaged =
            |error: rcgen::Error| PkiError::Damaged { folder: folder.to_owned(), reason: error.to_string() };
        match (read(&certificate_file)?, read(&key_file)?) {
            (Some(certificate_pem), Some(key_pem)) => {
                let key = KeyPair::from_pem(&key_pem).map_err(damaged)?;
                let issuer = Issuer::from_ca_cert_pem(&certificate_pem, key).map_err(damaged)?;
                Ok(Self { certificate_pem, issuer })
            }
            (None, _) => {
                let key = KeyPair::generate()?;
                let mut params = params("portolan-ca", None, CA_DAYS)?;
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
                let certificate_pem = params.self_signed(&key)?.pem();
                for (file, text) in
                    [(key_file, key.serialize_pem()), (certificate_file, certificate_pem.clone())]
                {
                    write_private(&file, &text).map_err(|source| PkiError::File { file, source })?;
                }
                Ok(Self { certificate_pem, issuer: Issuer::new(params, key) })
            }
            (Some(_), None) => {
                let reason = "ca.key is missing".to_owned();
                Err(PkiError::Damaged { folder: folder.to_owned(), reason })
            }
        }
    }

    /// A certificate for a server under these names and addresses.
    ///
    /// # Errors
    /// A name that no certificate can carry.
    pub fn server(&self, names: &[String], addresses: &[IpAddr]) -> Result<Leaf, PkiError> {
        let mut params = params("kube-apiserver", None, LEAF_DAYS)?;
        for name in names {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
        }
        params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// A certificate by which a client is known as `name`, a member of `group`.
    ///
    /// # Errors
    /// None in practice; the library may refuse.
    pub fn client(&self, name: &str, group: &str) -> Result<Leaf, PkiError> {
        let mut params = params(name, Some(group), LEAF_DAYS)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    /// Whether this authority has signed the client certificate `pem`, and it is valid from now on for `days`.
    pub fn vouches_for(&self, pem: &str, days: u64) -> bool {
        let Ok(certificate) = CertificateDer::from_pem_slice(pem.as_bytes()) else { return false };
        let Ok(verifier) = self.client_verifier() else { return false };
        let now = UnixTime::now();
        let later = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs() + days * 24 * 60 * 60));
        [now, later].into_iter().all(|time| verifier.verify_client_cert(&certificate, &[], time).is_ok())
    }

    fn client_verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, PkiError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()?), provider)
            .allow_unauthenticated()
            .build()
            .map_err(|error| PkiError::Tls(error.to_string()))
    }

    fn sign(&self, params: CertificateParams) -> Result<Leaf, PkiError> {
        let key = KeyPair::generate()?;
        let certificate_pem = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Leaf { certificate_pem, key_pem: key.serialize_pem() })
    }

    /// TLS for a server that verifies client certificates of this authority if they are given.
    ///
    /// # Errors
    /// TLS refuses the certificate.
    pub(crate) fn server_tls(&self, leaf: &Leaf) -> Result<ServerConfig, PkiError> {
        let verifier = self.client_verifier()?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let (chain, key) = leaf.read()?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(tls)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(tls)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// TLS for calling the agents of nodes: this server shows its certificate, and takes theirs as
    /// it is, since agents sign their own (as upstream does without a kubelet authority).
    ///
    /// # Errors
    /// TLS refuses the certificate.
    pub(crate) fn agent_tls(&self, leaf: &Leaf) -> Result<ClientConfig, PkiError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let (chain, key) = leaf.read()?;
        ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(tls)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyAgent { provider }))
            .with_client_auth_cert(chain, key)
            .map_err(tls)
    }

    fn roots(&self) -> Result<RootCertStore, PkiError> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(self.certificate_pem.as_bytes())
            .map_err(|error| PkiError::Tls(error.to_string()))?;
        roots.add(certificate).map_err(tls)?;
        Ok(roots)
    }
}

impl Leaf {
    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), PkiError> {
        let pem = |error: rustls::pki_types::pem::Error| PkiError::Tls(error.to_string());
        let certificate = CertificateDer::from_pem_slice(self.certificate_pem.as_bytes()).map_err(pem)?;
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).map_err(pem)?;
        Ok((vec![certificate], key))
    }
}

fn tls(error: rustls::Error) -> PkiError {
    PkiError::Tls(error.to_string())
}

fn params(name: &str, organization: Option<&str>, days: i64) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::new(Vec::new())?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    if let Some(organization) = organization {
        subject.push(DnType::OrganizationName, organization);
    }
    params.distinguished_name = subject;
    let now = time::OffsetDateTime::now_utc();
    params.not_before = now - time::Duration::hours(CLOCK_SKEW_HOURS);
    params.not_after = now + time::Duration::days(days);
    Ok(params)
}

fn read(file: &Path) -> Result<Option<String>, PkiError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PkiError::File { file: file.to_owned(), source }),
    }
}

/// Writes a file that only its owner may read, whole or not at all.
///
/// # Errors
/// The file cannot be written; it then is as it was.
pub fn write_private(file: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        create_private_dir(folder)?;
    }
    let mut partial = file.as_os_str().to_owned();
    partial.push(format!(".{}", std::process::id()));
    let partial = PathBuf::from(partial);
    let write = || {
        let mut options = fs::OpenOptions::new();
        let mut out = options.write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        out.set_permissions(fs::Permissions::from_mode(0o600))?;
        io::Write::write_all(&mut out, text.as_bytes())?;
        out.sync_all()?;
        fs::rename(&partial, file)
    };
    write().inspect_err(|_| drop(fs::remove_file(&partial)))
}

/// Makes a folder that only its owner may enter, and those above it, where they are not there.
///
/// # Errors
/// The folder cannot be made.
pub fn create_private_dir(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Accepts any certificate of a node's agent.
#[derive(Debug)]
struct AnyAgent {
    provider: Arc<rustls::crypto::CryptoProvider>,
}

impl rustls::client::danger::ServerCertVerifier for AnyAgent {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let first = Authority::open(folder.path()).unwrap().certificate_pem;
        assert_eq!(Authority::open(folder.path()).unwrap().certificate_pem, first);
        let mode = fs::metadata(folder.path().join("ca.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_authority_is_refused_with_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        Authority::open(folder.path()).unwrap();
        fs::write(folder.path().join("ca.key"), "no key").unwrap();
        let error = Authority::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is damaged"), "{error}");
        fs::remove_file(folder.path().join("ca.key")).unwrap();
        assert!(Authority::open(folder.path()).unwrap_err().to_string().contains("ca.key is missing"));
    }

    #[test]
    fn the_authority_vouches_for_its_own_certificates_while_they_last() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let authority = Authority::open(folder.path()).unwrap();
        let leaf = authority.client("jane", "system:masters").unwrap();
        assert!(authority.vouches_for(&leaf.certificate_pem, 30));
        assert!(!authority.vouches_for(&leaf.certificate_pem, LEAF_DAYS as u64 + 1));
        assert!(!authority.vouches_for("no certificate", 30));
        let stranger = Authority::open(other.path()).unwrap().client("jane", "system:masters").unwrap();
        assert!(!authority.vouches_for(&stranger.certificate_pem, 30));
    }

    #[test]
    fn a_client_certificate_names_its_user() {
        let folder = tempfile::tempdir().unwrap();
        let leaf = Authority::open(folder.path()).unwrap().client("jane", "system:masters").unwrap();
        let (chain, _) = leaf.read().unwrap();
        let user = crate::identity::User::from_certificate(&chain[0]).unwrap();
        assert_eq!(user.name, "jane");
        assert_eq!(user.groups, ["system:masters", "system:authenticated"]);
    }
}

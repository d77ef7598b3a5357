//! Who a request comes from.

use std::collections::BTreeMap;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The group whose members may do everything.
pub(crate) const MASTERS: &str = "system:masters";
/// The group of everybody whose name was proven.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
/// The group of everybody else.
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The name of a user who has none.
pub(crate) const ANONYMOUS: &str = "system:anonymous";

/// An authenticated client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The common name of its certificate.
    pub name: String,
    /// What tells it from others who had the name before; may be empty.
    pub uid: String,
    /// The organizations of its certificate, and `system:authenticated`.
    pub groups: Vec<String>,
    /// What else is known of it.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user of that name, in exactly these groups.
    pub(crate) fn known(name: &str, groups: impl IntoIterator<Item = String>) -> Self {
        Self { name: name.to_owned(), groups: groups.into_iter().collect(), ..Self::default() }
    }

    /// A part of this program that calls its own API server.
    pub fn in_process(name: &str) -> Self {
        Self::known(name, [MASTERS.to_owned(), AUTHENTICATED.to_owned()])
    }

    /// Reads a client certificate that the TLS layer has already verified; none if it names nobody.
    pub(crate) fn from_certificate(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let subject = parsed.subject();
        let name = subject.iter_common_name().next()?.as_str().ok()?;
        let organizations = subject.iter_organization().filter_map(|o| Some(o.as_str().ok()?.to_owned()));
        Some(Self::known(name, organizations.chain([AUTHENTICATED.to_owned()])))
    }
}

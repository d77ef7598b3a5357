//! `tls`: the certificate for `tls://` and `https://` keys.

use std::path::PathBuf;

use crate::corefile::{Directive, Fault, Scope};

/// The files of the directive `tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// The certificate chain, PEM.
    pub(crate) certificate: PathBuf,
    /// Its private key, PEM.
    pub(crate) key: PathBuf,
}

/// Reads `tls CERT KEY [CA]`.
pub(super) fn read(
    value: &mut Option<TlsFiles>,
    directive: &Directive,
    scope: &mut Scope<'_>,
) -> Result<(), Fault> {
    let ([certificate, key] | [certificate, key, _]) = directive.arguments.as_slice() else {
        return Err(directive.fault("write `tls CERT KEY`"));
    };
    if directive.arguments.len() == 3 {
        scope.warn(directive.line, "clients are not asked for certificates, so the CA of tls has no effect");
    }
    *value = Some(TlsFiles { certificate: scope.folder.join(certificate), key: scope.folder.join(key) });
    Ok(())
}

//! Who a request comes from, and whether that may do what it asks.

use api::status::Status;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::http::path::ResourcePath;

/// The group whose members may do everything.
pub(crate) const MASTERS: &str = "system:masters";

/// An authenticated client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The common name of its certificate.
    pub name: String,
    /// The organizations of its certificate, and `system:authenticated`.
    pub groups: Vec<String>,
}

impl User {
    /// A part of this program that calls its own API server.
    pub fn in_process(name: &str) -> Self {
        Self { name: name.to_owned(), groups: vec![MASTERS.to_owned(), "system:authenticated".to_owned()] }
    }

    /// Reads a client certificate that the TLS layer has already verified; none if it names nobody.
    pub(crate) fn from_certificate(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let subject = parsed.subject();
        let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let organizations = subject.iter_organization().filter_map(|o| Some(o.as_str().ok()?.to_owned()));
        let groups = organizations.chain(["system:authenticated".to_owned()]).collect();
        Some(Self { name, groups })
    }

    /// Refuses what the user may not do. There are no roles yet: masters may do everything, others nothing.
    pub(crate) fn authorize(&self, verb: &str, path: &ResourcePath) -> Result<(), Status> {
        if self.groups.iter().any(|group| group == MASTERS) {
            return Ok(());
        }
        let resource = match &path.subresource {
            Some(part) => format!("{}/{part}", path.resource),
            None => path.resource.clone(),
        };
        let object = path.name.as_ref().map(|name| format!(" {name:?}")).unwrap_or_default();
        let scope = match &path.namespace {
            Some(namespace) => format!("in the namespace {namespace:?}"),
            None => "at the cluster scope".to_owned(),
        };
        let resource_of_text = if path.group.is_empty() {
            path.resource.clone()
        } else {
            format!("{}.{}", path.resource, path.group)
        };
        Err(Status::forbidden(format!(
            "{resource_of_text}{object} is forbidden: User {:?} cannot {verb} resource {resource:?} in API group {:?} {scope}",
            self.name, path.group
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masters_may_do_everything_and_others_are_told_what_they_may_not() {
        let path = crate::http::path::parse("/api/v1/namespaces/dev/services").unwrap();
        User::in_process("portolan").authorize("list", &path).unwrap();
        let jane = User { name: "jane".into(), groups: vec!["dev".into()] };
        assert_eq!(
            jane.authorize("list", &path).unwrap_err().message,
            "services is forbidden: User \"jane\" cannot list resource \"services\" in API group \"\" in the namespace \"dev\""
        );
    }
}

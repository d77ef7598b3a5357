//! Namespaces.

use super::{Metadata, Object};
use serde::Deserialize;

/// That a namespace is there, which makes `<namespace>.svc` a name even while no Service is in it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "RawNamespace")]
pub struct Namespace {
    /// Name and version.
    pub metadata: Metadata,
}

impl Namespace {
    /// The namespace of this name.
    pub fn named(name: &str) -> Self {
        Self {
            metadata: Metadata { namespace: "".into(), name: name.into(), uid: None, resource_version: None },
        }
    }
}

impl Object for Namespace {
    const KIND: &'static str = "Namespace";
    const GROUP: &'static str = "";
    const VERSION: &'static str = "v1";
    const PLURAL: &'static str = "namespaces";

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

#[derive(Deserialize)]
struct RawNamespace {
    metadata: RawMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMetadata {
    name: String,
    resource_version: Option<Box<str>>,
}

impl From<RawNamespace> for Namespace {
    fn from(raw: RawNamespace) -> Self {
        let mut namespace = Self::named(&raw.metadata.name);
        namespace.metadata.resource_version = raw.metadata.resource_version;
        namespace
    }
}

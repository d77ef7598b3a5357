//! The part of `metadata` that counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

/// Name, namespace and version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// `metadata.namespace`, empty for objects that have none.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `metadata.uid`, which Events on the object need.
    pub uid: Option<Box<str>>,
    /// `metadata.resourceVersion`, where a watch goes on.
    pub resource_version: Option<Box<str>>,
}

/// `metadata` as it is read; labels and annotations are looked through and dropped.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RawMetadata {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    uid: Option<Box<str>>,
    resource_version: Option<Box<str>>,
    pub(crate) deletion_timestamp: Option<Box<str>>,
    #[serde(default, deserialize_with = "super::raw::nullable")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "super::raw::nullable")]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl From<RawMetadata> for Metadata {
    fn from(raw: RawMetadata) -> Self {
        Self {
            namespace: raw.namespace.into(),
            name: raw.name.into(),
            uid: raw.uid,
            resource_version: raw.resource_version,
        }
    }
}

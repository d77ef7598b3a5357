//! ServiceCIDRs (KEP-1880).

use serde::Deserialize;

use super::metadata::{Metadata, RawMetadata};
use super::{Object, raw};
use crate::Cidr;

/// Ranges that cluster IPs are allocated from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "RawServiceCidr")]
pub struct ServiceCidr {
    /// Name and version.
    pub metadata: Metadata,
    /// `spec.cidrs`.
    pub cidrs: Vec<Cidr>,
}

impl Object for ServiceCidr {
    const KIND: &'static str = "ServiceCIDR";
    const GROUP: &'static str = "networking.k8s.io";
    const VERSION: &'static str = "v1";
    const PLURAL: &'static str = "servicecidrs";

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

#[derive(Deserialize)]
struct RawServiceCidr {
    metadata: RawMetadata,
    #[serde(default, deserialize_with = "raw::nullable")]
    spec: RawSpec,
}

#[derive(Deserialize, Default)]
struct RawSpec {
    #[serde(default, deserialize_with = "raw::nullable")]
    cidrs: Vec<String>,
}

impl From<RawServiceCidr> for ServiceCidr {
    fn from(raw: RawServiceCidr) -> Self {
        let cidrs = raw.spec.cidrs.iter().filter_map(|range| range.parse().ok()).collect();
        Self { cidrs, metadata: raw.metadata.into() }
    }
}

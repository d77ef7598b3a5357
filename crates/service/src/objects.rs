//! Slim Kubernetes objects: the fields that decide where packets and names go, and no others.
//!
//! They are read from the JSON an API server or a manifest holds. One impossible value must not keep other
//! Services from working (nor the list it stands in from being read), so a value that cannot be meant, such
//! as port 70000, reads as absent and is noted among the object's [`Problems`].

mod balance;
mod metadata;
mod namespace;
mod node;
mod pod;
mod problem;
mod raw;
mod scheduler;
mod service;
mod service_cidr;
#[cfg(feature = "manifest")]
mod service_import;
mod slice;

pub use balance::{Balance, MAX_WEIGHT};
pub use metadata::Metadata;
pub use namespace::Namespace;
pub use node::Node;
pub use pod::Pod;
pub use problem::Problems;
pub use scheduler::{Scheduler, UnknownScheduler};
pub use service::{
    ClusterIps, ExternalTrafficPolicy, Protocol, Service, ServicePort, ServiceType, SessionAffinity,
};
pub use service_cidr::ServiceCidr;
#[cfg(feature = "manifest")]
pub use service_import::ServiceImport;
pub use slice::{EndpointSlice, Hints, ImportedSlice, PodNamedSlice, SliceEndpoint, SlicePort};

use std::fmt::Debug;

/// A slim object of one Kubernetes kind.
pub trait Object: serde::de::DeserializeOwned + Debug + Clone + Send + Sync + 'static {
    /// Its kind, such as `Service`.
    const KIND: &'static str;
    /// Its API group, empty for the core group.
    const GROUP: &'static str;
    /// Its API version, such as `v1`.
    const VERSION: &'static str;
    /// Its name in URLs, such as `services`.
    const PLURAL: &'static str;

    /// Its name, namespace and version.
    fn metadata(&self) -> &Metadata;

    /// What stands for an object whose JSON is not of its kind's form, such as a text where a list should be: one
    /// that asks for nothing and has `why` among its [`Problems`]. `None` if the kind has no such thing; the object
    /// then counts as not there.
    fn unreadable(_metadata: Metadata, _why: &str) -> Option<Self> {
        None
    }
}

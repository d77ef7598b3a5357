//! The registry: what it means to create, read, change and delete objects.
//!
//! One path serves every kind; what a kind does differently is a row in [`rules`].

mod create;
mod delete;
mod list;
mod rules;
mod update;
mod watch;

use std::net::IpAddr;
use std::sync::Arc;

use api::schema::{Kind, Schema};
use api::status::Status;
use bytes::Bytes;
use serde_json::Value;
use store::{Change, Commit, CommitError, Expect, ReadError, Record, Revision, Store, Write};

use crate::object;
use crate::service::Allocator;
use crate::workshop::Workshop;
pub(crate) use delete::{DeleteOptions, Deleted};
pub(crate) use list::{ListQuery, Selection};
pub(crate) use update::{Part, Precondition, check_name};
pub(crate) use watch::{WatchQuery, WatchedEvent, watch};

/// A conditional write that lost a race is tried again at most so often.
const MAX_RACES: usize = 32;

/// The objects of one cluster.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) schema: &'static Schema,
    pub(crate) store: Arc<dyn StoreDebug>,
    pub(crate) services: Allocator,
    pub(crate) workshop: Arc<Workshop>,
}

/// A store that can stand in a debug print.
pub(crate) trait StoreDebug: Store + std::fmt::Debug {}
impl<T: Store + std::fmt::Debug> StoreDebug for T {}

impl Registry {
    /// The registry over a store, with the allocations of the Services that it holds.
    pub(crate) async fn open(
        schema: &'static Schema,
        store: Arc<dyn StoreDebug>,
        services: Allocator,
    ) -> Result<Self, Status> {
        let registry = Self { schema, store, services, workshop: Arc::default() };
        if let Some(kind) = schema.resource("", "v1", "services") {
            let page = registry.store.list(&prefix(kind, None), store::ListOptions::default()).await;
            for record in page.map_err(|error| read_error(&error))?.records {
                registry.services.adopt(&object::read(&record)?);
            }
        }
        Ok(registry)
    }

    /// The addresses that Services get.
    pub(crate) fn first_service_ip(&self) -> IpAddr {
        self.services.first_ip()
    }

    /// Refuses a read of a state that is still to come.
    pub(crate) fn check_reached(&self, revision: Option<Revision>) -> Result<(), Status> {
        let current = self.store.revision();
        match revision.filter(|wanted| *wanted > current) {
            Some(wanted) => Err(too_new(wanted, current)),
            None => Ok(()),
        }
    }

    /// The record of one object.
    pub(crate) async fn record(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Record, Status> {
        let found = self.store.get(&key(kind, namespace, name)).await.map_err(|error| read_error(&error))?;
        found.ok_or_else(|| Status::not_found(kind, name))
    }

    /// One object as a value.
    pub(crate) async fn get(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Value, Status> {
        object::read(&self.record(kind, namespace, name).await?)
    }

    async fn commit(
        &self,
        key: &str,
        change: Change,
        expect: Expect,
    ) -> Result<Result<Commit, Option<Record>>, Status> {
        match self.store.commit(Write { key: key.into(), change, expect }).await {
            Ok(commit) => Ok(Ok(commit)),
            Err(CommitError::Mismatch { current }) => Ok(Err(current)),
            Err(error @ CommitError::Unavailable(_)) => Err(Status::internal(error)),
        }
    }
}

/// An object as it is answered: what is (or with a dry run would be) stored.
fn preview(value: &Value) -> Bytes {
    value.to_string().into()
}

/// The key of one object.
pub(crate) fn key(kind: &Kind, namespace: Option<&str>, name: &str) -> String {
    let mut key = prefix(kind, namespace);
    key.push_str(name);
    key
}

/// What the keys of a collection start with; without a namespace, of all namespaces.
pub(crate) fn prefix(kind: &Kind, namespace: Option<&str>) -> String {
    match namespace.filter(|_| kind.namespaced) {
        Some(namespace) => format!("/registry/{}/{namespace}/", kind.qualified_resource()),
        None => format!("/registry/{}/", kind.qualified_resource()),
    }
}

/// A failed read in Kubernetes' words.
pub(crate) fn read_error(error: &ReadError) -> Status {
    match *error {
        ReadError::TooOld { requested, oldest } => {
            Status::expired(format!("too old resource version: {requested} ({oldest})"))
        }
        ReadError::TooNew { requested, current } => too_new(requested, current),
        ReadError::Closed => Status::unavailable("the server is shutting down"),
    }
}

fn too_new(requested: Revision, current: Revision) -> Status {
    let mut status = Status::timeout(format!("Too large resource version: {requested}, current: {current}"));
    let cause = api::status::Cause {
        reason: "ResourceVersionTooLarge".into(),
        message: "Too large resource version".into(),
        field: String::new(),
    };
    let details = status.details.get_or_insert_default();
    details.causes.push(cause);
    details.retry_after_seconds = 1;
    status
}

//! The two stores under one face.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use futures::StreamExt;
use futures::stream::BoxStream;
use store::local::{LocalStore, Retention};
use store::{Change, Draft, Expect, Store, Watcher, Write};
use tonic::transport::Channel;

use crate::etcd::Etcd;

/// How many connections the writers of etcd share; one connection is a bottleneck of the client.
const CONNECTIONS: usize = 8;

/// A store that is measured.
#[derive(Clone)]
pub(super) enum Subject {
    /// The embedded engine, in this process.
    Local(Arc<LocalStore>),
    /// etcd, over gRPC.
    Etcd(Arc<Etcd>, Arc<[Channel]>),
}

impl Subject {
    /// Opens the embedded engine as the API server does.
    pub(super) fn local(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self::Local(Arc::new(LocalStore::open(&folder.join("store.redb"), Retention::default())?)))
    }

    /// Starts an etcd.
    pub(super) async fn etcd(folder: &Path) -> anyhow::Result<Self> {
        let etcd = Etcd::start(folder).await?;
        let mut channels = Vec::new();
        for _ in 0..CONNECTIONS {
            channels.push(etcd.connect().await);
        }
        Ok(Self::Etcd(Arc::new(etcd), channels.into()))
    }

    /// What tables call it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Local(_) => "portolan",
            Self::Etcd(..) => "etcd",
        }
    }

    /// Creates a key that must be absent, and waits until that is durable.
    pub(super) async fn create(&self, writer: usize, key: String, value: Vec<u8>) -> anyhow::Result<()> {
        match self {
            Self::Local(store) => {
                let change = Change::Put(Draft::plain(value));
                store.commit(Write { key: key.into(), change, expect: Expect::Absent }).await?;
            }
            Self::Etcd(etcd, channels) => {
                etcd.create(&channels[writer % channels.len()], key, value).await?;
            }
        }
        Ok(())
    }

    /// Watches what is created below a prefix from now on.
    pub(super) async fn watch(&self, prefix: &str) -> anyhow::Result<Watch> {
        Ok(match self {
            Self::Local(store) => Watch::Local(store.watch(prefix, store.revision())?),
            Self::Etcd(etcd, _) => Watch::Etcd(etcd.watch(prefix).await?.boxed()),
        })
    }
}

/// A watch of either store.
pub(super) enum Watch {
    /// Of the embedded engine.
    Local(Box<dyn Watcher>),
    /// Of etcd.
    Etcd(BoxStream<'static, Vec<String>>),
}

impl Watch {
    /// The next keys that were written.
    pub(super) async fn next(&mut self) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Local(watcher) => {
                Ok(watcher.next().await?.iter().map(|event| event.record.key.to_string()).collect())
            }
            Self::Etcd(stream) => stream.next().await.context("etcd has ended the watch"),
        }
    }
}

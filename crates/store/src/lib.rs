//! Revisions, compare-and-set, watch, durability: the store behind the API server.
//!
//! The store is a log of revisions. Each write appends one record and is refused unless the key
//! still is as the writer last saw it; a watch is a reader of that log. [`Store`] is what the API
//! server sees; [`local::LocalStore`] is the embedded engine.
//!
//! Invariants:
//! * Values are opaque bytes. The store knows nothing of Kubernetes, except that a value may have
//!   one hole into which the revision of the write is put ([`Draft`]).
//! * A revision names exactly one change, and revisions have no gaps a reader could see as loss.
//! * What [`Store::commit`] has acknowledged survives the death of the process, and nothing is served that is
//!   not as it was written: a damaged store is refused.
//! * The index in memory and the log on disk never differ: what becomes visible is durable, and what is
//!   forgotten is removed.

//! ```
//! use store::{Change, Draft, Expect, Store, Write, local::{LocalStore, Retention}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let store = LocalStore::open(&folder.path().join("store.redb"), Retention::default())?;
//! let mut changes = store.watch("/pods/", store.revision())?;
//!
//! // The revision of the write goes into the hole.
//! let value = Draft::with_hole("{\"resourceVersion\":\"", "\"}");
//! let write = Write { key: "/pods/default/web".into(), change: Change::Put(value), expect: Expect::Absent };
//! let created = store.commit(write).await?.record;
//! assert_eq!(created.value, format!("{{\"resourceVersion\":\"{}\"}}", created.revision));
//!
//! // Whoever changes it must have seen it as it is now.
//! let delete = |revision| Write {
//!     key: "/pods/default/web".into(),
//!     change: Change::Delete(Draft::plain("")),
//!     expect: Expect::Revision(revision),
//! };
//! assert!(store.commit(delete(created.revision + 1)).await.is_err());
//! store.commit(delete(created.revision)).await?;
//!
//! let first = changes.next().await?;
//! assert_eq!((first[0].record.revision, first[0].deleted), (created.revision, false));
//! # Ok(())
//! # }
//! ```

mod draft;
mod engine;
pub mod local;

pub use draft::Draft;
pub use engine::{
    Batch, Change, Commit, CommitError, Event, Expect, ListOptions, Page, ReadError, Record, Revision, Store,
    Trouble, Watcher, Write,
};

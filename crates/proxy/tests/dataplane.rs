//! The proxy in real network namespaces, with real connections. Needs root; prints why it skips otherwise.

#[path = "dataplane/api.rs"]
mod api;
#[path = "dataplane/namespace.rs"]
mod namespace;
#[path = "dataplane/scene.rs"]
mod scene;
#[path = "dataplane/server.rs"]
mod server;

#[path = "dataplane/connections.rs"]
mod connections;
#[path = "dataplane/follow.rs"]
mod follow;
#[path = "dataplane/scale.rs"]
mod scale;
#[path = "dataplane/updates.rs"]
mod updates;

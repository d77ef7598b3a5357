//! The proxy in real network namespaces, with real connections. Needs root; prints why it skips otherwise.

#[path = "dataplane/namespace.rs"]
mod namespace;
#[path = "dataplane/scene.rs"]
mod scene;
#[path = "dataplane/server.rs"]
mod server;

#[path = "dataplane/connections.rs"]
mod connections;
#[path = "dataplane/scale.rs"]
mod scale;
#[path = "dataplane/updates.rs"]
mod updates;

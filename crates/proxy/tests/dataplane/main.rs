//! The proxy in real network namespaces, with real connections. Needs root; prints why it skips otherwise.

mod api;
mod namespace;
mod scene;
mod server;
mod sys;

mod cases;
mod connections;
mod damage;
mod follow;
mod iptables;
mod ipvs;
mod kill;
mod kube_proxy_layout;
mod local_dns;
mod localhost;
mod policies;
mod scale;
mod storm;
mod updates;
mod userspace;

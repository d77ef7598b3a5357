//! Does our proxy do what kube-proxy does, and our DNS what CoreDNS does?
//!
//! Random clusters ([`generate`]) are given to a real API server and a real kube-proxy ([`peers`]). Its rules are
//! dumped, and packets ([`questions`]) are walked through them and through ours. Every verdict, endpoint,
//! probability and masquerade decision must agree ([`compare`]); in iptables mode every rule too. What differs on
//! purpose is listed, with the reason, in `compat/README.md`.
//!
//! A cluster and the dumps that kube-proxy made of it can be recorded ([`recording`]); continuous integration
//! compares with recordings, since building kube-proxy takes long. DNS servers are compared in [`dns`].
//!
//! And does a cluster keep its promises while everything around it fails? [`chaos`] breaks what can break.

pub mod chaos;
pub mod check;
pub mod compare;
pub mod deploy;
pub mod dns;
pub mod generate;
pub mod peers;
pub mod process;
pub mod questions;
pub mod recording;

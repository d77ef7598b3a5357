//! nf_tables and conntrack over netlink, in pure Rust. Knows nothing of Kubernetes.

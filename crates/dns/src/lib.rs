//! Cluster DNS: watch, names, packets.

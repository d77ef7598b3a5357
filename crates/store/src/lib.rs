//! Revisions, compare-and-set, watch, durability: the store behind the API server.

//! Network namespaces as nodes, pods and clients: the sandbox, and the ground of tests and benches.

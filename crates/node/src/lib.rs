//! Pods on a machine: CRI, pod network, probes, logs and exec.

//! The Service model: who serves this port, seen from this node, and why. Pure: no I/O, no async, no clock.

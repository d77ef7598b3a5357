//! Endpoints, EndpointSlices, mirroring, workloads, scheduling, garbage collection: reactions to watches.

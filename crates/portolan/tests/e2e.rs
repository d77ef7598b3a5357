//! The built binary, real kubectl, real pods, real packets: the steps of the Service tutorial and
//! what a user would try besides.
//!
//! Everything happens in namespaces that the tests make and remove. Without root, tests that need
//! it say so and pass over.

#[path = "e2e/agent.rs"]
mod agent;
#[path = "e2e/alone.rs"]
mod alone;
#[path = "e2e/api.rs"]
mod api;
#[path = "e2e/api_rules.rs"]
mod api_rules;
#[path = "e2e/controllers.rs"]
mod controllers;
#[path = "e2e/data.rs"]
mod data;
#[path = "e2e/disk.rs"]
mod disk;
#[path = "e2e/harness.rs"]
mod harness;
#[path = "e2e/lifecycle.rs"]
mod lifecycle;
#[path = "e2e/objects.rs"]
mod objects;
#[path = "e2e/pods.rs"]
mod pods;
#[path = "e2e/services.rs"]
mod services;
#[path = "e2e/signals.rs"]
mod signals;

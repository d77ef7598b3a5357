//! Kubernetes objects as data: one schema table, codecs, defaults, strict decoding, validation, patches, tables. Pure.
//!
//! An object in flight is a [`serde_json::Value`]. Everything that depends on its type — which fields exist,
//! how they travel in protobuf, how lists merge, what OpenAPI says — is looked up in one [`schema::Schema`],
//! so a new kind is a line in a table and a message in a data file, not a new module.
//!
//! The way of a write: [`codec::decode`] → [`defaults::apply`] → [`validate::create`] or [`validate::update`].
//! Nothing here does I/O, reads a clock or panics on what a client sent.

//!
//! ```
//! use api::codec::{self, FieldValidation, Media};
//! use api::schema::Schema;
//! use api::{defaults, validate};
//!
//! let schema = Schema::builtin();
//! let service = schema.kind("", "v1", "Service").unwrap();
//! let body = br#"{"metadata": {"name": "web", "namespace": "default"}, "spec": {"ports": [{"port": 70000}]}}"#;
//!
//! let mut object = codec::decode(schema, service, Media::Json, body, FieldValidation::Strict).unwrap().object;
//! defaults::apply(schema, service, &mut object);
//! assert_eq!(object["spec"]["ports"][0]["protocol"], "TCP");
//!
//! let errors = validate::create(schema, service, &object);
//! assert!(errors.iter().any(|error| error.to_string().starts_with("spec.ports[0].port: Invalid value: 70000")));
//! ```

// Models of tests name this crate as other crates do.
#[cfg(test)]
extern crate self as api;

pub mod codec;
pub mod defaults;
pub mod discovery;
pub mod field;
pub mod meta;
pub mod openapi;
pub mod patch;
pub mod quantity;
pub mod schema;
pub mod seconds;
pub mod selector;
pub mod status;
pub mod table;
pub mod validate;
pub mod warnings;

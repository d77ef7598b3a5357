//! The names of a cluster: a table from Services to their records. Each Service is replaced on its own while queries
//! read the table.

mod dashed;
mod find;
mod inline;
mod records;
mod reverse;
mod servers;
mod srv;
mod subset;
mod table;
mod view;

use std::sync::Arc;

use service::ServiceName;

pub(crate) use find::{Found, RecordFilter};
pub(crate) use inline::OneOrMany;
pub(crate) use records::{AddressSource, RecordOptions, Records, ServiceSpec};
pub(crate) use reverse::address as reverse_address;
pub(crate) use servers::{OWN_NAME, SVC};
pub(crate) use srv::SrvTarget;
pub(crate) use subset::{Label, Port, Subset};
pub(crate) use table::{Change, Reading, Table};
pub(crate) use view::{View, ZoneMatch};

/// The key of a Service in the table: the labels `<service>.<namespace>` in wire form, without the root. A question
/// has the same bytes, so a Service is looked up without making a key.
pub(crate) type Key = Arc<[u8]>;

/// The key of a Service.
pub(crate) fn key(name: &ServiceName) -> Key {
    [label(&name.name), label(&name.namespace)].concat().into()
}

/// The label of the namespace in a key.
fn namespace(key: &[u8]) -> &[u8] {
    &key[1 + usize::from(key[0])..]
}

/// A label in wire form. Texts longer than 63 bytes are cut and so never found; the API allows no such names.
fn label(text: &str) -> Box<[u8]> {
    let text = &text.as_bytes()[..text.len().min(63)];
    [&[text.len() as u8], text].concat().to_ascii_lowercase().into()
}

#[cfg(test)]
mod tests;

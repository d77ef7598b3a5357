//! The HTTP face of the registry.

pub(crate) mod accept;
pub(crate) mod connect;
pub(crate) mod connections;
pub(crate) mod dispatch;
pub(crate) mod health;
pub(crate) mod impersonation;
pub(crate) mod in_process;
pub(crate) mod limits;
pub(crate) mod objects;
pub(crate) mod options;
pub(crate) mod path;
pub(crate) mod pieces;
pub(crate) mod query;
pub(crate) mod respond;
pub(crate) mod reviews;
pub(crate) mod serve;
pub(crate) mod subresources;
pub(crate) mod unread;

//! One module for each command.

pub(crate) mod apiserver;
pub(crate) mod demo;
pub(crate) mod dns;
pub(crate) mod down;
pub(crate) mod explain;
pub(crate) mod image;
pub(crate) mod list;
pub(crate) mod manual;
pub(crate) mod parts;
pub(crate) mod proxy;
pub(crate) mod status;
pub(crate) mod trace;
pub(crate) mod up;

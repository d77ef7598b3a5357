//! The table of plugins: each directive of a Corefile is one row.
//!
//! A row names the directive, the value that it is read into, what a second directive of the same name does, and the
//! function that reads it. A row of a plugin that handles queries also has the stage in which it does so, and makes
//! its handler. Within a stage queries pass the handlers in the order of the rows, whatever the order in the Corefile.
//!
//! To add a plugin, write its file in `plugin/` and add its row here.

pub(crate) mod autopath;
mod bind;
mod bufsize;
pub(crate) mod cache;
mod errors;
pub(crate) mod forward;
mod handler;
mod health;
pub(crate) mod hosts;
pub(crate) mod kubernetes;
mod loadbalance;
pub(crate) mod log;
mod loops;
mod multisocket;
mod no_effect;
mod parts;
mod prometheus;
mod ready;
mod reload;
pub(crate) mod rewrite;
mod rrl;
pub(crate) mod template;
pub(crate) mod tls;
pub(crate) mod transfer;
mod value;

use std::net::SocketAddr;
use std::time::Duration;

use crate::corefile::{Directive, Fault, Scope};
use crate::metrics::MOST_PLUGINS;

pub(crate) use handler::{Handled, Handler, Request, Rest};
pub(crate) use parts::Parts;

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Plugin {
    /// The name of the directive.
    pub(crate) name: &'static str,
    /// What a second directive of this name does in the same server block.
    pub(crate) repeated: Repeated,
    read: fn(&mut Plugins, &Directive, &mut Scope<'_>) -> Result<(), Fault>,
    is_enabled: fn(&Plugins) -> bool,
    /// How queries are handled, unless the directive only sets something.
    pub(crate) handling: Option<Handling>,
}

/// What a second directive of the same name does in a server block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeated {
    /// It is added to the first.
    Adds,
    /// It takes the place of the first.
    Replaces,
    /// It is an error, with this text.
    Fails(&'static str),
}

/// How a plugin handles queries.
#[derive(Debug)]
pub(crate) struct Handling {
    /// When it does.
    pub(crate) stage: Stage,
    /// Makes the handler of a server block, if the block has the plugin.
    pub(crate) handler: fn(&Plugins, &Parts) -> Option<Box<dyn Handler>>,
}

/// The stages that a query passes, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Decides whether the client gets a reply at all. Queries that the server asks itself do not pass it.
    Admission,
    /// Changes the question, and the reply back.
    Change,
    /// Answers.
    Answer,
}

/// Makes [`Plugins`] and [`PLUGINS`] of rows `field: Type, "directive", repeated, read [, stage => handler];`.
macro_rules! plugins {
    ($($field:ident: $value:ty, $name:literal, $repeated:expr, $read:path $(, $stage:ident => $handler:expr)?;)*) => {
        /// The plugins of a server block: for each directive what was read of it.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct Plugins {
            $(#[doc = concat!("The directive `", $name, "`.")] pub(crate) $field: $value,)*
        }

        /// The rows of the table.
        pub(crate) const PLUGINS: &[Plugin] = &[$(Plugin {
            name: $name,
            repeated: $repeated,
            read: |plugins, directive, scope| $read(&mut plugins.$field, directive, scope),
            is_enabled: |plugins| Value::is_enabled(&plugins.$field),
            handling: plugins!(@handling $($stage => |plugins, parts| $handler(&plugins.$field, parts))?),
        }),*];

        /// The names of the directives, in the order of the table.
        pub(crate) const NAMES: &[&str] = &[$($name),*];
    };
    (@handling) => { None };
    (@handling $stage:ident => $handler:expr) => {
        Some(Handling { stage: Stage::$stage, handler: $handler })
    };
}

use Repeated::{Adds, Fails, Replaces};
use no_effect::NoEffect;
use value::Value;

plugins! {
    // Where and how the server listens.
    tls: Option<tls::TlsFiles>, "tls", Replaces, tls::read;
    bind: bind::Bind, "bind", Adds, bind::read;
    sockets: Option<usize>, "multisocket", Replaces, multisocket::read;
    reload: Option<Duration>, "reload", Replaces, reload::read;
    buffer: Option<u16>, "bufsize", Replaces, bufsize::read;
    ready: Option<SocketAddr>, "ready", Replaces, ready::read;
    health: Option<health::HealthOptions>, "health", Replaces, health::read;
    metrics: Option<SocketAddr>, "prometheus", Replaces, prometheus::read;
    errors: bool, "errors", Replaces, errors::read;
    log: Option<log::LogOptions>, "log", Adds, log::read;
    balance: bool, "loadbalance", Replaces, loadbalance::read;
    detect_loops: bool, "loop", Replaces, loops::read;
    // What this server does always, or has no need of.
    any: NoEffect, "any", Replaces, no_effect::read_bare;
    cancel: NoEffect, "cancel", Replaces, no_effect::read;
    debug: NoEffect, "debug", Replaces, no_effect::read;
    metadata: NoEffect, "metadata", Replaces, no_effect::read;
    minimal: NoEffect, "minimal", Replaces, no_effect::read;
    pprof: NoEffect, "pprof", Replaces, no_effect::read;
    shed: NoEffect, "shed", Replaces, no_effect::read;
    timeouts: NoEffect, "timeouts", Replaces, no_effect::read;
    // The way of a query.
    limits: Option<rrl::RrlOptions>, "rrl", Replaces, rrl::read, Admission => rrl::handler;
    rewrite: Vec<rewrite::RewriteRule>, "rewrite", Adds, rewrite::read, Change => rewrite::handler;
    autopath: Option<autopath::AutopathOptions>, "autopath", Replaces, autopath::read, Change => autopath::handler;
    template: Vec<template::TemplateRule>, "template", Adds, template::read, Answer => template::handler;
    transfer: Vec<transfer::TransferRule>, "transfer", Adds, transfer::read, Answer => transfer::handler;
    hosts: Option<hosts::HostsOptions>, "hosts", Replaces, hosts::read, Answer => hosts::handler;
    kubernetes: Option<kubernetes::KubernetesOptions>, "kubernetes",
        Fails("it is already in this block; one cluster a block"), kubernetes::read, Answer => kubernetes::handler;
    cache: Option<cache::CacheOptions>, "cache", Replaces, cache::read, Answer => cache::handler;
    forward: Vec<forward::ForwardOptions>, "forward", Adds, forward::read, Answer => forward::handler;
}

const _: () = assert!(PLUGINS.len() <= MOST_PLUGINS);

impl Plugins {
    /// Reads a directive.
    ///
    /// # Errors
    /// [`Fault`] when there is no such directive, when it may not be repeated, or when it is wrong in itself.
    pub(crate) fn read(&mut self, directive: &Directive, scope: &mut Scope<'_>) -> Result<(), Fault> {
        let Some(plugin) = PLUGINS.iter().find(|plugin| plugin.name == directive.name) else {
            let mut names = NAMES.to_vec();
            names.sort_unstable();
            let text = format!("there is no directive {:?}; there are {}", directive.name, names.join(", "));
            return Err(Fault::new(directive.line, text));
        };
        match plugin.repeated {
            Fails(text) if (plugin.is_enabled)(self) => Err(directive.fault(text)),
            Adds | Replaces | Fails(_) => (plugin.read)(self, directive, scope),
        }
    }

    /// The names of the directives that metrics list.
    pub(crate) fn enabled(&self) -> Vec<&'static str> {
        PLUGINS.iter().filter(|plugin| (plugin.is_enabled)(self)).map(|plugin| plugin.name).collect()
    }
}

#[cfg(test)]
mod tests;

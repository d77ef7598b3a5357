//! `transfer` at work.

use std::sync::Arc;

use super::{TransferRule, messages};
use crate::plugin::{Handled, Handler, Parts, Request};
use crate::wire::{CLASS_IN, kind};
use crate::zone::View;

/// Makes the handler of `transfer`. Only zones of the cluster are sent: of others this server does not know all names.
pub(in crate::plugin) fn handler(value: &[TransferRule], parts: &Parts) -> Option<Box<dyn Handler>> {
    let (rules, cluster) = (value.to_vec(), parts.cluster.clone()?);
    (!rules.is_empty()).then(|| Box::new(Transfer { rules, cluster }) as Box<dyn Handler>)
}

#[derive(Debug)]
struct Transfer {
    rules: Vec<TransferRule>,
    cluster: Arc<View>,
}

impl Handler for Transfer {
    fn begin(&self, _: &Request<'_>, _: &mut Vec<u8>) -> Handled {
        Handled::Next
    }

    fn transfer(&self, request: &Request<'_>) -> Option<Vec<Vec<u8>>> {
        let query = request.query;
        let asked = matches!(query.kind, kind::AXFR | kind::IXFR) && query.class == CLASS_IN;
        let admits = |rule: &TransferRule| {
            rule.admits(request.client.address)
                && rule.zones.iter().any(|zone| query.name.below(zone).is_some())
        };
        let is_zone = self.cluster.below(&query.name) == Some(0);
        (asked && is_zone && self.cluster.table().synced() && self.rules.iter().any(admits))
            .then(|| messages::messages(&self.cluster, query))
    }
}

//! The ruleset in words, without a kernel.

use std::fmt::Write;

use service::objects::{EndpointSlice, Service};
use service::{Changed, Cluster, Event, Viewpoint};

use crate::NodeFacts;
use crate::nftables::balance::Load;
use crate::nftables::{Range, Ruleset, Way, compile};

/// Prints what these objects lead to on a node: one line per front, with its way and its endpoints.
pub fn dry_run(services: Vec<Service>, slices: Vec<EndpointSlice>, viewpoint: &Viewpoint) -> String {
    let mut cluster = Cluster::new();
    let mut changed = Changed::new();
    services.into_iter().for_each(|service| cluster.service_event(Event::Apply(service), &mut changed));
    slices.into_iter().for_each(|slice| cluster.slice_event(Event::Apply(slice), &mut changed));
    let mut ruleset = Ruleset::new();
    let node = NodeFacts { viewpoint: viewpoint.clone(), ..NodeFacts::default() };
    for name in changed {
        ruleset.replace(&name, compile(&cluster.ports(&name, viewpoint), &node, &Load::default(), None));
    }
    print(&ruleset)
}

fn print(ruleset: &Ruleset) -> String {
    let mut fronts: Vec<_> = ruleset.fronts().collect();
    fronts.sort_unstable_by_key(|(front, _)| **front);
    let mut text = String::new();
    for (front, value) in fronts {
        let list = |range: Range| {
            let run = range.first as usize..(range.first + range.count) as usize;
            let endpoints = value.slots.get(run).unwrap_or_default().iter().map(ToString::to_string);
            endpoints.collect::<Vec<_>>().join(" ")
        };
        let way = match value.way {
            Way::Serve { range, masquerade: false } => list(range),
            Way::Serve { range, masquerade: true } => format!("masquerade, {}", list(range)),
            Way::Split { inside, outside } if outside.count == 0 => {
                format!("from the cluster {}; from outside drop", list(inside))
            }
            Way::Split { inside, outside } => {
                format!("from the cluster {}; from outside {}", list(inside), list(outside))
            }
            Way::Drop => "drop".to_owned(),
            Way::Reject => "reject".to_owned(),
        };
        // Writing to a String does not fail.
        let _ = writeln!(text, "{front} ({}): {way}", value.comment);
    }
    text
}

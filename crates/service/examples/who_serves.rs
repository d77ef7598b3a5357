//! Prints which endpoints serve each Service of some manifests, for pods of a node:
//!
//!     kubectl get services,endpointslices,nodes -A -o json > objects.json
//!     cargo run --package service --features manifest --example who_serves -- objects.json node1

use std::error::Error;
use std::{env, fs};

use service::manifest::Objects;
use service::{Changed, Client, Cluster, Entrance, Event, Outcome, Viewpoint};

fn main() -> Result<(), Box<dyn Error>> {
    let (Some(file), Some(node)) = (env::args().nth(1), env::args().nth(2)) else {
        return Err("usage: who_serves FILE NODE".into());
    };
    let mut objects = Objects::default();
    objects.read(&fs::read_to_string(file)?)?;
    let objects = objects.finish();

    let viewpoint = Viewpoint { node: node.into(), zone: None };
    let mut cluster = Cluster::new();
    let mut changed = Changed::new();
    objects
        .services
        .into_iter()
        .for_each(|service| cluster.service_event(Event::Apply(service), &mut changed));
    objects.slices.into_iter().for_each(|slice| cluster.slice_event(Event::Apply(slice), &mut changed));

    for name in cluster.names() {
        for port in cluster.ports(name, &viewpoint) {
            let served = match port.choice.answer(Entrance::Internal, Client::Pod).outcome {
                Outcome::Serve(list) => {
                    let addresses: Vec<_> =
                        list.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect();
                    format!("{} ({})", addresses.join(", "), list.rule)
                }
                Outcome::Reject => "nobody; connections are rejected".to_owned(),
                Outcome::Drop => "nobody on this node; connections are dropped".to_owned(),
            };
            println!("{name} {}:{}: {served}", port.cluster_ip, port.port.port);
        }
    }
    Ok(())
}

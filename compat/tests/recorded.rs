//! What kube-proxy made of recorded clusters, and what we make of them. Needs root and `nft`, `iptables`.

#[path = "recorded/dns.rs"]
mod dns;

use std::path::Path;

use compat::check;
use compat::recording::Recording;
use testbed::Namespace;

#[test]
fn every_packet_goes_the_way_that_kube_proxy_sent_it() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: network namespaces and rules need root");
        return;
    }
    let name = format!("compat-recorded-{}", std::process::id());
    let namespace = Namespace::ensure(&name).unwrap();
    let folders = Recording::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded"));
    assert!(folders.len() >= 4, "there are recordings of both modes");
    let mut differences = Vec::new();
    for folder in folders {
        let found = check::all(&Recording::read(&folder).unwrap(), &namespace).unwrap();
        println!("{}: {found}", folder.display());
        assert!(found.packets > 500);
        differences.extend(found.differences);
    }
    Namespace::delete(&name).unwrap();
    assert!(differences.is_empty(), "{differences:#?}");
}

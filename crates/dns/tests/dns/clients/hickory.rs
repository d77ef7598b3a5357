//! hickory-resolver, which parses whatever it receives and asks again over TCP itself.

use std::net::{IpAddr, SocketAddr};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Resolver, TokioResolver};

use super::{ADDRESSES, objects};
use crate::harness::Server;

fn resolver(server: SocketAddr) -> TokioResolver {
    let ways = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut way| {
        way.port = server.port();
        way
    });
    let server = NameServerConfig::new(server.ip(), true, ways.into());
    let search = ["default.svc.cluster.local.", "svc.cluster.local.", "cluster.local."]
        .map(|name| Name::from_ascii(name).unwrap());
    let config = ResolverConfig::from_parts(None, search.into(), vec![server]);
    let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.options_mut().ndots = 5;
    builder.build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn hickory_finds_names_by_the_search_path() {
    let (services, slices) = objects();
    let server = Server::with(&services, &slices, Vec::new()).await;
    let resolver = resolver(server.address);
    for (name, address) in ADDRESSES {
        let found = resolver.lookup_ip(name).await.unwrap();
        assert_eq!(found.iter().collect::<Vec<IpAddr>>(), [address.parse::<IpAddr>().unwrap()], "{name}");
    }
    let missing = resolver.lookup_ip("missing.default.svc.cluster.local.").await.unwrap_err();
    assert!(missing.is_nx_domain(), "{missing}");
    let nothing =
        resolver.lookup("test-service-2.default.svc.cluster.local.", RecordType::TXT).await.unwrap_err();
    assert!(nothing.is_no_records_found() && !nothing.is_nx_domain(), "{nothing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hickory_finds_aliases_ports_and_reverse_names() {
    let (services, slices) = objects();
    let server = Server::with(&services, &slices, Vec::new()).await;
    let resolver = resolver(server.address);
    let alias = resolver.lookup_ip("alias").await.unwrap();
    assert_eq!(alias.iter().collect::<Vec<IpAddr>>(), ["10.96.0.7".parse::<IpAddr>().unwrap()]);

    let ports = resolver.lookup("_http._tcp.dns-test-service", RecordType::SRV).await.unwrap();
    let ports: Vec<_> = ports
        .answers()
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(srv) => Some((srv.port, srv.target.to_string())),
            _ => None,
        })
        .collect();
    let host = "dns-querier-1.dns-test-service.default.svc.cluster.local.".to_owned();
    assert_eq!(ports, [(80, host.clone())]);

    let back = resolver.reverse_lookup("10.244.1.2".parse::<IpAddr>().unwrap()).await.unwrap();
    let names: Vec<_> = back.answers().iter().map(|record| record.data.to_string()).collect();
    assert_eq!(names, [host]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc7766_hickory_asks_again_over_tcp_after_a_truncated_reply() {
    let (services, slices) = objects();
    let server = Server::with(&services, &slices, Vec::new()).await;
    let found = resolver(server.address).lookup_ip("crowd").await.unwrap();
    assert_eq!(found.iter().count(), 300);
}

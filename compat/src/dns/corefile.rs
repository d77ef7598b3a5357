//! The configurations under which both servers are asked.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::generate::PRIMARY;

/// A Corefile and the names that it suggests.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// A word for it.
    pub name: &'static str,
    /// Zones of the kubernetes plugin; without any there is no such plugin.
    pub zones: &'static [&'static str],
    /// Options of the kubernetes plugin, one a line.
    pub kubernetes: &'static str,
    /// Other plugins of the server, one a line.
    pub plugins: &'static str,
    /// Other server blocks.
    pub others: &'static str,
    /// Names to ask for beside those of the objects.
    pub names: &'static [&'static str],
    /// TTLs count down while the questions are asked.
    pub counts_down: bool,
    /// Whether questions that break rules are asked too.
    pub broken: bool,
    /// The address at which it serves.
    pub address: IpAddr,
    /// Whether it listens on no other.
    pub bound: bool,
}

/// Where things are in one run.
#[derive(Debug, Clone)]
pub struct Places<'a> {
    /// Where the server listens.
    pub server: SocketAddr,
    /// Where it tells that it is ready.
    pub ready: SocketAddr,
    /// The server of other names.
    pub upstream: SocketAddr,
    /// The line that names the API server.
    pub kubeconfig: &'a str,
}

const CLUSTER: &[&str] = &["cluster.local", "in-addr.arpa", "ip6.arpa"];
const OUTSIDE: &[&str] = &[
    "www.example.com.",
    "WWW.Example.com.",
    "example.com.",
    "only-v6.example.com.",
    "alias.example.com.",
    "far.example.com.",
    "dangling.example.com.",
    "many.example.com.",
    "empty.example.com.",
    "missing.example.com.",
    "servfail.example.com.",
    "refused.example.com.",
    "_sip._tcp.example.com.",
    "10.100.51.198.in-addr.arpa.",
    "9.9.9.10.in-addr.arpa.",
    ".",
];

const PLAIN: Case = Case {
    name: "plain",
    zones: CLUSTER,
    kubernetes: "",
    plugins: "",
    others: "",
    names: &["www.example.com.", ".", "com.", "arpa.", "local."],
    counts_down: false,
    broken: false,
    address: IpAddr::V4(Ipv4Addr::LOCALHOST),
    bound: true,
};

/// All of them.
pub const CASES: [Case; 21] = [
    Case { broken: true, ..PLAIN },
    // Here it is an endpoint of a Service, which is then the zone's name server.
    Case {
        name: "endpoint",
        kubernetes: "ttl 30",
        address: IpAddr::V4(PRIMARY),
        bound: false,
        names: &["cluster.local.", "in-addr.arpa.", "ns.dns.cluster.local."],
        ..PLAIN
    },
    Case {
        name: "kubeadm",
        broken: true,
        kubernetes: "pods insecure\nfallthrough in-addr.arpa ip6.arpa\nttl 30",
        plugins: "errors\nloadbalance\nforward . {upstream} {\nmax_concurrent 1000\n}\n\
                  cache 30 {\ndisable success cluster.local\ndisable denial cluster.local\n}",
        names: OUTSIDE,
        counts_down: true,
        ..PLAIN
    },
    Case {
        name: "kube-up",
        kubernetes: "pods insecure\nfallthrough in-addr.arpa ip6.arpa\nttl 30",
        plugins: "errors\nloadbalance\nforward . {upstream}\ncache 30",
        names: OUTSIDE,
        counts_down: true,
        ..PLAIN
    },
    Case { name: "verified", kubernetes: "pods verified\nttl 7", ..PLAIN },
    Case { name: "insecure", kubernetes: "pods insecure", plugins: "loadbalance", ..PLAIN },
    Case { name: "pod-names", kubernetes: "pods insecure\nendpoint_pod_names\nttl 3600", ..PLAIN },
    Case { name: "no-endpoints", kubernetes: "noendpoints\nttl 0", ..PLAIN },
    Case { name: "ignore-empty", kubernetes: "ignore empty_service", ..PLAIN },
    Case { name: "namespaces", kubernetes: "pods insecure\nnamespaces team-a empty", ..PLAIN },
    Case { name: "namespace-labels", kubernetes: "pods insecure\nnamespace_labels env=prod", ..PLAIN },
    Case { name: "labels", kubernetes: "labels tier in (front, back)", ..PLAIN },
    Case {
        name: "fallthrough",
        kubernetes: "pods insecure\nfallthrough",
        plugins: "forward . {upstream}",
        names: OUTSIDE,
        ..PLAIN
    },
    Case {
        name: "zones",
        zones: &["corp.example", "cluster.local", "10.96.0.0/16", "10.244.0.0/16"],
        kubernetes: "ttl 30",
        ..PLAIN
    },
    Case {
        name: "hosts",
        kubernetes: "fallthrough in-addr.arpa",
        plugins: "hosts {\n192.0.2.10 host.example.com db.host.example.com\n2001:db8::10 host.example.com\n\
                  192.0.2.11 web.team-a.svc.cluster.local\nttl 60\nfallthrough\n}\nforward . {upstream}",
        names: &[
            "host.example.com.",
            "Host.example.com.",
            "db.host.example.com.",
            "other.host.example.com.",
            "10.2.0.192.in-addr.arpa.",
            "11.2.0.192.in-addr.arpa.",
            "12.2.0.192.in-addr.arpa.",
            "www.example.com.",
        ],
        ..PLAIN
    },
    Case {
        name: "rewrite",
        plugins: "rewrite name exact shop.example.com web.team-a.svc.cluster.local\n\
                  rewrite name suffix .corp.test .team-a.svc.cluster.local answer auto\n\
                  rewrite stop {\nname regex (.*)\\.dc\\.test {1}.team-b.svc.cluster.local\n\
                  answer name (.*)\\.team-b\\.svc\\.cluster\\.local {1}.dc.test\n}\n\
                  forward . {upstream}",
        names: &[
            "shop.example.com.",
            "SHOP.example.com.",
            "web.corp.test.",
            "db.corp.test.",
            "web-0.db.corp.test.",
            "missing.corp.test.",
            "web.dc.test.",
            "db.dc.test.",
            "missing.dc.test.",
            "www.example.com.",
        ],
        ..PLAIN
    },
    Case {
        name: "template",
        plugins: "template IN A dyn.test {\nmatch ^ip-(?P<a>[0-9]+)-(?P<b>[0-9]+)-(?P<c>[0-9]+)-(?P<d>[0-9]+)\\.dyn\\.test\\.$\n\
                  answer \"{{ .Name }} 60 IN A {{ .Group.a }}.{{ .Group.b }}.{{ .Group.c }}.{{ .Group.d }}\"\nfallthrough\n}\n\
                  template ANY ANY void.test {\nrcode NXDOMAIN\nauthority \"void.test. 60 IN SOA ns.void.test. mail.void.test. 1 60 60 60 60\"\n}\n\
                  forward . {upstream}",
        names: &[
            "ip-192-0-2-7.dyn.test.",
            "IP-192-0-2-7.dyn.test.",
            "other.dyn.test.",
            "dyn.test.",
            "void.test.",
            "a.void.test.",
            "www.example.com.",
        ],
        ..PLAIN
    },
    Case {
        name: "autopath",
        kubernetes: "pods verified\nttl 30",
        plugins: "autopath @kubernetes\nforward . {upstream}",
        names: &[
            "www.example.com.team-a.svc.cluster.local.",
            "one.com.team-a.svc.cluster.local.",
            "web.team-a.svc.cluster.local.",
            "web.team-b.team-a.svc.cluster.local.",
            "missing.example.com.team-a.svc.cluster.local.",
            "www.example.com.svc.cluster.local.",
            "www.example.com.team-b.svc.cluster.local.",
            "www.example.com.",
        ],
        ..PLAIN
    },
    Case { name: "transfer", kubernetes: "pods insecure\nttl 30", plugins: "transfer {\nto *\n}", ..PLAIN },
    Case {
        name: "stub",
        zones: &["cluster.local"],
        plugins: "forward . {upstream} {\nexcept void.test\n}",
        others: "stub.test:{port} {\nbind {address}\nforward . {upstream}\ncache 30\n}\n\
                 void.test:{port} {\nbind {address}\nhosts {\n192.0.2.30 a.void.test\n}\n}\n",
        names: &[
            "a.stub.test.",
            "b.stub.test.",
            "web-0.stub.test.",
            "a.void.test.",
            "b.void.test.",
            "void.test.",
            "www.example.com.",
        ],
        counts_down: true,
        ..PLAIN
    },
    Case { name: "forward", zones: &[], plugins: "forward . {upstream}", names: OUTSIDE, ..PLAIN },
];

impl Case {
    /// The configuration of this word.
    pub fn of(name: &str) -> Option<&'static Self> {
        CASES.iter().find(|case| case.name == name)
    }

    /// The Corefile.
    pub fn text(&self, places: &Places<'_>) -> String {
        let kubernetes = match self.zones {
            [] => String::new(),
            zones => {
                format!("kubernetes {} {{\n{}\n{}\n}}\n", zones.join(" "), places.kubeconfig, self.kubernetes)
            }
        };
        let server = if self.bound { "bind {address}\nready {ready}\n" } else { "ready {ready}\n" };
        let text = format!(".:{{port}} {{\n{server}{}\n{kubernetes}}}\n{}", self.plugins, self.others);
        text.replace("{port}", &places.server.port().to_string())
            .replace("{address}", &places.server.ip().to_string())
            .replace("{ready}", &places.ready.to_string())
            .replace("{upstream}", &places.upstream.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_a_corefile_without_gaps() {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let places = Places { server: at(1053), ready: at(8181), upstream: at(1054), kubeconfig: "" };
        for (index, case) in CASES.iter().enumerate() {
            let text = case.text(&places);
            assert_eq!(text.matches("{\n").count(), text.matches("}\n").count(), "{text}");
            assert!(!["{port}", "{address}", "{ready}", "{upstream}"].iter().any(|gap| text.contains(gap)));
            assert_eq!(Case::of(case.name).map(|case| case.plugins), Some(CASES[index].plugins));
        }
    }
}

//! Files and flags that kube-proxy takes.

use super::*;

const HEAD: &str = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";

fn read(text: &str) -> Result<Configuration, InvalidConfiguration> {
    let mut configuration = Configuration::default();
    configuration.read(&format!("{HEAD}{text}")).map(|()| configuration)
}

fn config(text: &str) -> Config {
    read(text).unwrap().config(|| "Host1 ".to_owned()).unwrap()
}

/// The form in which kubeadm writes the file: every field, most of them empty.
const KUBEADM: &str = "
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection: {acceptContentTypes: '', burst: 0, contentType: '', kubeconfig: /var/lib/kube-proxy/kubeconfig.conf, qps: 0}
clusterCIDR: 10.244.0.0/16,fd00:244::/64
configSyncPeriod: 0s
conntrack: {maxPerCore: null, min: null, tcpBeLiberal: false, tcpCloseWaitTimeout: null, tcpEstablishedTimeout: null, udpStreamTimeout: 0s, udpTimeout: 0s}
detectLocal: {bridgeInterface: '', interfaceNamePrefix: ''}
detectLocalMode: ''
enableProfiling: false
featureGates: null
healthzBindAddress: ''
hostnameOverride: ''
iptables: {localhostNodePorts: null, masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s}
ipvs: {excludeCIDRs: null, minSyncPeriod: 0s, scheduler: '', strictARP: false, syncPeriod: 0s, tcpFinTimeout: 0s, tcpTimeout: 0s, udpTimeout: 0s}
logging: {flushFrequency: 0, options: {json: {infoBufferSize: '0'}, text: {infoBufferSize: '0'}}, verbosity: 0}
metricsBindAddress: ''
mode: ''
nftables: {masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s}
nodePortAddresses: null
oomScoreAdj: null
portRange: ''
showHiddenMetricsForVersion: ''
winkernel: {enableDSR: false, forwardHealthCheckVip: false, networkName: '', rootHnsEndpointName: '', sourceVip: ''}
";

#[test]
fn the_file_that_kubeadm_writes_means_the_defaults() {
    let configuration = read(KUBEADM).unwrap();
    assert_eq!(configuration.warnings(), &[] as &[String]);
    assert_eq!(configuration.kubeconfig().as_deref(), Some("/var/lib/kube-proxy/kubeconfig.conf"));
    let ranges = ["10.244.0.0/16", "fd00:244::/64"].map(|range| range.parse().unwrap());
    let config = configuration.config(|| "Host1 ".to_owned()).unwrap();
    assert_eq!(config, Config::new("host1", ranges.to_vec()));
    let service = configuration.duties().unwrap();
    assert_eq!(service.healthz, Some("0.0.0.0:10256".parse().unwrap()));
    assert_eq!(service.metrics, Some("127.0.0.1:10249".parse().unwrap()));
    assert_eq!(service.conntrack.tcp_established, Duration::from_secs(24 * 3600));
    assert_eq!(service.configz["conntrack"]["tcpEstablishedTimeout"], "24h0m0s");
    assert_eq!(service.configz["iptables"]["masqueradeBit"], 14);
}

#[test]
fn each_mode_has_its_own_masquerading() {
    let nftables = config("nftables: {masqueradeBit: 5, masqueradeAll: true}");
    assert_eq!(
        (nftables.mode, nftables.masquerade_mark, nftables.masquerade_all),
        (ModeName::Nftables, 32, true)
    );
    let iptables = config("mode: iptables\nnftables: {masqueradeBit: 5, masqueradeAll: true}");
    assert_eq!(
        (iptables.mode, iptables.masquerade_mark, iptables.masquerade_all),
        (ModeName::Iptables, 0x4000, false)
    );
}

#[test]
fn node_port_addresses_and_local_detection_are_read() {
    assert_eq!(config("nodePortAddresses: [primary]").node_port_addresses, Some(NodePortAddresses::Primary));
    let ranges = config("nodePortAddresses: [192.0.2.0/24, 2001:db8::/32]").node_port_addresses;
    assert!(matches!(ranges, Some(NodePortAddresses::Ranges(ranges)) if ranges.len() == 2));
    let keywords = |text: &str| config(&format!("nodePortAddresses: [{text}]")).node_port_addresses;
    let ranges = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Cidr>>();
    let loopback = ranges(&["127.0.0.0/8", "::1/128"]);
    assert_eq!(keywords("localhost"), Some(NodePortAddresses::Ranges(loopback.clone())));
    assert_eq!(keywords("primary, localhost"), Some(NodePortAddresses::PrimaryAnd(loopback)));
    assert_eq!(
        keywords("192.0.2.0/24, primary"),
        Some(NodePortAddresses::PrimaryAnd(ranges(&["192.0.2.0/24"])))
    );
    assert_eq!(keywords("primary, all"), Some(NodePortAddresses::All));
    let bridge =
        config("detectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: cni0}").detect_local;
    assert_eq!(bridge, DetectLocal::BridgeInterface("cni0".to_owned()));
}

#[test]
fn the_address_and_the_periods_of_the_node_are_read() {
    assert_eq!(config("bindAddress: '::'").node_address, None);
    assert_eq!(config("bindAddress: 192.0.2.7").node_address, "192.0.2.7".parse().ok());
    let text = "iptables: {syncPeriod: 10s, minSyncPeriod: 2s}\nipvs: {syncPeriod: 7s}";
    let periods = |mode: &str| {
        let config = config(&format!("mode: {mode}\n{text}"));
        (config.sync_period.as_secs(), config.min_sync_period.as_secs())
    };
    assert_eq!(
        ["nftables", "iptables", "userspace", "ipvs"].map(periods),
        [(30, 0), (10, 2), (10, 2), (7, 0)]
    );
}

#[test]
fn what_cannot_be_meant_is_refused_by_name() {
    let refused = |text: &str| match read(text).and_then(|read| read.config(|| "a".to_owned()).map(|_| read))
    {
        Ok(read) => read.duties().err().map(|error| error.to_string()).unwrap_or_default(),
        Err(error) => error.to_string(),
    };
    let cases = [
        ("iptabels: {}", "unknown field \"iptabels\""),
        ("iptables: {masqueradeBits: 3}", "unknown field \"iptables.masqueradeBits\""),
        ("mode: ebpf", "mode: ebpf is not one of nftables, iptables, ipvs, userspace"),
        ("nftables: {masqueradeBit: 32}", "nftables.masqueradeBit: 32 is not a bit from 0 to 31"),
        ("iptables: {syncPeriod: soon}", "iptables.syncPeriod: soon is not a time such as 30s or 1m"),
        ("clusterCIDR: 10.244.0.0", "clusterCIDR: 10.244.0.0 is not a list of ranges such as 10.244.0.0/16"),
        (
            "detectLocalMode: BridgeInterface",
            "detectLocal.bridgeInterface: the empty text is not the name of a bridge",
        ),
        ("bindAddress: here", "bindAddress: here is not an IP address"),
        ("healthzBindAddress: here", "healthzBindAddress: here is not ADDRESS:PORT"),
        ("masqueradeAll: true", "unknown field \"masqueradeAll\""),
    ];
    for (text, expected) in cases {
        assert_eq!(refused(text), expected);
    }
    let mut other = Configuration::default();
    assert!(other.read("kind: Pod").unwrap_err().to_string().contains("apiVersion is missing"));
}

#[test]
fn settings_without_a_meaning_here_are_named_and_flags_go_before_the_file() {
    let mut configuration = read("portRange: 1-2\nmode: iptables\nenableProfiling: true").unwrap();
    assert_eq!(configuration.warnings().len(), 2);
    let flag = |name: &str| SETTINGS.iter().find(|setting| setting.flag == name).unwrap();
    configuration.set_flag(flag("proxy-mode"), "ipvs").unwrap();
    configuration.set_flag(flag("masquerade-all"), "true").unwrap();
    configuration.set_flag(flag("nodeport-addresses"), "192.0.2.0/24,198.51.100.0/24").unwrap();
    let config = configuration.config(|| "a".to_owned()).unwrap();
    assert!(config.mode == ModeName::Ipvs && config.masquerade_all);
    assert!(
        matches!(config.node_port_addresses, Some(NodePortAddresses::Ranges(ranges)) if ranges.len() == 2)
    );
    let wrong = configuration.set_flag(flag("masquerade-all"), "perhaps").unwrap_err();
    assert_eq!(wrong.to_string(), "--masquerade-all: perhaps is not true or false");
}

//! Every setting once: its key in the configuration file, its flag, what it holds, its default, what it does.

/// One setting of kube-proxy.
#[derive(Debug)]
pub struct Setting {
    /// Where it stands in a KubeProxyConfiguration, with dots between the levels; empty if only a flag sets it.
    pub key: &'static str,
    /// Its flag without the dashes in front; empty if there is none.
    pub flag: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What it is if nobody sets it, or sets it to null, the empty text, or zero where zero means that.
    pub default: Preset,
    /// What it does here.
    pub meaning: Meaning,
    /// What it is for, in a line.
    pub help: &'static str,
}

/// What a setting holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Number,
    /// A text.
    Text,
    /// A time as Go writes it, such as `1m30s`.
    Duration,
    /// A list of texts; as a flag with commas between them.
    List,
    /// Anything with a structure of its own.
    Any,
}

/// What a setting is if nobody sets it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Preset {
    /// Nothing: the kernel's value is left, or there is none.
    None,
    /// This.
    Bool(bool),
    /// This; zero is a value of its own.
    Int(i64),
    /// This.
    Text(&'static str),
    /// This; zero means the default.
    Duration(&'static str),
    /// This; zero is a value of its own and means "leave it".
    DurationOrZero(&'static str),
    /// The empty list.
    List,
}

/// What a setting does here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// What it does in kube-proxy.
    Used,
    /// Nothing, and that needs no word: it is accepted so that a file needs no change.
    Accepted,
    /// Nothing, and whoever sets it is told why.
    Without(&'static str),
}

use Kind as K;
use Meaning::{Accepted, Used, Without};
use Preset as D;

const WINDOWS: &str = "it is for Windows nodes";
const LOGS: &str = "logs are set by the environment variable PORTOLAN_LOG";

const fn row(
    key: &'static str,
    flag: &'static str,
    kind: Kind,
    default: Preset,
    meaning: Meaning,
    help: &'static str,
) -> Setting {
    Setting { key, flag, kind, default, meaning, help }
}

/// All settings, by their keys' order of the alphabet.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    row("bindAddress", "bind-address", K::Text, D::Text("0.0.0.0"), Used, "The node's own address, in place of the first one of that family that its Node object has; 0.0.0.0 and :: stand for none"),
    row("bindAddressHardFail", "bind-address-hard-fail", K::Bool, D::Bool(false), Used, "Exit when a server cannot listen, in place of trying again"),
    row("clientConnection.acceptContentTypes", "", K::Text, D::Text(""), Accepted, "Content types to ask for"),
    row("clientConnection.burst", "kube-api-burst", K::Int, D::Int(10), Accepted, "Requests at once to the API server"),
    row("clientConnection.contentType", "kube-api-content-type", K::Text, D::Text("application/vnd.kubernetes.protobuf"), Accepted, "Content type of requests; JSON is used"),
    row("clientConnection.kubeconfig", "kubeconfig", K::Text, D::Text(""), Used, "How to reach the API server"),
    row("clientConnection.qps", "kube-api-qps", K::Number, D::Int(5), Accepted, "Requests a second to the API server"),
    row("clusterCIDR", "cluster-cidr", K::Text, D::Text(""), Used, "The addresses of pods, one range for each family"),
    row("configSyncPeriod", "config-sync-period", K::Duration, D::Duration("15m"), Accepted, "How often to look at all objects again; events suffice"),
    row("conntrack.maxPerCore", "conntrack-max-per-core", K::Int, D::Int(32768), Used, "Tracked connections for each core; 0 leaves the kernel's limit"),
    row("conntrack.min", "conntrack-min", K::Int, D::Int(131_072), Used, "Tracked connections at least"),
    row("conntrack.tcpBeLiberal", "conntrack-tcp-be-liberal", K::Bool, D::Bool(false), Used, "Let TCP packets outside the window pass"),
    row("conntrack.tcpCloseWaitTimeout", "conntrack-tcp-timeout-close-wait", K::Duration, D::DurationOrZero("1h"), Used, "How long connections in CLOSE_WAIT are remembered; 0 leaves the kernel's setting"),
    row("conntrack.tcpEstablishedTimeout", "conntrack-tcp-timeout-established", K::Duration, D::DurationOrZero("24h"), Used, "How long idle TCP connections are remembered; 0 leaves the kernel's setting"),
    row("conntrack.udpStreamTimeout", "conntrack-udp-timeout-stream", K::Duration, D::DurationOrZero("0s"), Used, "How long idle UDP connections that had answers are remembered"),
    row("conntrack.udpTimeout", "conntrack-udp-timeout", K::Duration, D::DurationOrZero("0s"), Used, "How long idle UDP connections are remembered"),
    row("detectLocal.bridgeInterface", "pod-bridge-interface", K::Text, D::Text(""), Used, "The bridge that pods of this node are behind"),
    row("detectLocal.interfaceNamePrefix", "pod-interface-name-prefix", K::Text, D::Text(""), Used, "How the interfaces of pods of this node begin"),
    row("detectLocalMode", "detect-local-mode", K::Text, D::Text("ClusterCIDR"), Used, "How pods are recognised: ClusterCIDR, NodeCIDR, BridgeInterface, InterfaceNamePrefix"),
    row("enableProfiling", "profiling", K::Bool, D::Bool(false), Without("profiles are taken from outside, for example with perf"), "Serve profiles"),
    row("featureGates", "feature-gates", K::Any, D::None, Accepted, "Gates of Kubernetes' features"),
    row("healthzBindAddress", "healthz-bind-address", K::Text, D::Text("0.0.0.0:10256"), Used, "Where /healthz and /livez are served"),
    row("hostnameOverride", "hostname-override", K::Text, D::Text(""), Used, "The node's name [default: this machine's host name]"),
    row("iptables.localhostNodePorts", "iptables-localhost-nodeports", K::Bool, D::Bool(true), Used, "Open NodePorts at 127.0.0.1 too"),
    row("iptables.masqueradeAll", "masquerade-all", K::Bool, D::Bool(false), Used, "Masquerade all ClusterIP traffic"),
    row("iptables.masqueradeBit", "iptables-masquerade-bit", K::Int, D::Int(14), Used, "The bit of the packet mark for packets to masquerade, 0 to 31"),
    row("iptables.minSyncPeriod", "iptables-min-sync-period", K::Duration, D::DurationOrZero("0s"), Used, "How long to wait between two changes of rules [default: not at all]"),
    row("iptables.syncPeriod", "iptables-sync-period", K::Duration, D::Duration("30s"), Used, "How often to look whether somebody removed the rules; out of date for twice this time they are unhealthy"),
    row("ipvs.excludeCIDRs", "ipvs-exclude-cidrs", K::List, D::List, Used, "Virtual servers in these ranges are left alone"),
    row("ipvs.minSyncPeriod", "ipvs-min-sync-period", K::Duration, D::DurationOrZero("0s"), Used, "How long to wait between two changes of rules [default: not at all]"),
    row("ipvs.scheduler", "ipvs-scheduler", K::Text, D::Text(""), Used, "How virtual servers choose, such as rr or lc"),
    row("ipvs.strictARP", "ipvs-strict-arp", K::Bool, D::Bool(false), Used, "Answer ARP for an address only on its own interface"),
    row("ipvs.syncPeriod", "ipvs-sync-period", K::Duration, D::Duration("30s"), Used, "How often to compare all with the kernel; out of date for twice this time rules are unhealthy"),
    row("ipvs.tcpFinTimeout", "ipvs-tcpfin-timeout", K::Duration, D::DurationOrZero("0s"), Used, "How long TCP connections are remembered after a FIN"),
    row("ipvs.tcpTimeout", "ipvs-tcp-timeout", K::Duration, D::DurationOrZero("0s"), Used, "How long idle TCP connections are remembered"),
    row("ipvs.udpTimeout", "ipvs-udp-timeout", K::Duration, D::DurationOrZero("0s"), Used, "How long idle UDP connections are remembered"),
    row("logging", "", K::Any, D::None, Accepted, "Logs are set by the environment variable PORTOLAN_LOG"),
    row("metricsBindAddress", "metrics-bind-address", K::Text, D::Text("127.0.0.1:10249"), Used, "Where /metrics, /proxyMode and /configz are served"),
    row("mode", "proxy-mode", K::Text, D::Text("nftables"), Used, "nftables, iptables, ipvs or userspace"),
    row("nftables.masqueradeAll", "", K::Bool, D::Bool(false), Used, "Masquerade all ClusterIP traffic"),
    row("nftables.masqueradeBit", "", K::Int, D::Int(14), Used, "The bit of the packet mark for packets to masquerade, 0 to 31"),
    row("nftables.minSyncPeriod", "", K::Duration, D::DurationOrZero("0s"), Used, "How long to wait between two changes of rules [default: not at all]"),
    row("nftables.syncPeriod", "", K::Duration, D::Duration("30s"), Used, "Rules that are out of date for twice this time are unhealthy"),
    row("nodePortAddresses", "nodeport-addresses", K::List, D::List, Used, "Where NodePorts are open: ranges, primary, localhost, all, or several of these [default: all; with nftables primary and localhost]"),
    row("oomScoreAdj", "oom-score-adj", K::Int, D::Int(-999), Used, "How little this process should be killed for want of memory"),
    row("portRange", "proxy-port-range", K::Text, D::Text(""), Without("kube-proxy has no use for it either since 1.26"), "Ports of the userspace mode"),
    row("showHiddenMetricsForVersion", "show-hidden-metrics-for-version", K::Text, D::Text(""), Accepted, "Show metrics that are hidden since this version; none is"),
    row("windowsRunAsService", "", K::Bool, D::Bool(false), Without(WINDOWS), "Run as a Windows service"),
    row("winkernel.enableDSR", "", K::Bool, D::Bool(false), Without(WINDOWS), "Direct server return"),
    row("winkernel.forwardHealthCheckVip", "", K::Bool, D::Bool(false), Without(WINDOWS), "Forward health checks"),
    row("winkernel.networkName", "", K::Text, D::Text(""), Without(WINDOWS), "The network"),
    row("winkernel.rootHnsEndpointName", "", K::Text, D::Text(""), Without(WINDOWS), "The endpoint"),
    row("winkernel.sourceVip", "", K::Text, D::Text(""), Without(WINDOWS), "The source address"),
    row("", "v", K::Int, D::None, Without(LOGS), "How much to log"),
    row("", "vmodule", K::Text, D::None, Without(LOGS), "How much single files log"),
    row("", "logging-format", K::Text, D::None, Without(LOGS), "How to log"),
    row("", "logtostderr", K::Bool, D::None, Accepted, "Logs go to standard error"),
];

/// The setting with this key.
pub(super) fn by_key(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key && !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_and_each_flag_is_there_once_and_in_order() {
        let keys: Vec<_> = SETTINGS.iter().map(|setting| setting.key).filter(|key| !key.is_empty()).collect();
        let mut sorted = keys.clone();
        sorted.sort_by_key(|key| key.to_lowercase());
        sorted.dedup();
        let mut flags: Vec<_> =
            SETTINGS.iter().map(|setting| setting.flag).filter(|flag| !flag.is_empty()).collect();
        let count = flags.len();
        flags.sort_unstable();
        flags.dedup();
        assert_eq!((keys, flags.len()), (sorted, count));
    }
}

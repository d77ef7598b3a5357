//! kube-proxy's configuration, `kubeproxy.config.k8s.io/v1alpha1` `KubeProxyConfiguration`, and its flags.
//!
//! Both are one table, [`SETTINGS`]. What kube-proxy accepts is accepted; what means nothing here is said so; what
//! kube-proxy does not know is an error. A flag that is given goes before the file.

mod table;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Number, Value};
use service::{Cidr, duration};
use thiserror::Error;

use crate::config::{Config, DetectLocal, IpvsConfig, ModeName, NodePortAddresses};
use crate::limits::Limits;

pub use table::{Kind, Meaning, Preset, SETTINGS, Setting};

const API_VERSION: &str = "kubeproxy.config.k8s.io/v1alpha1";
const KIND: &str = "KubeProxyConfiguration";
/// What the keyword `localhost` of `nodePortAddresses` stands for.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

/// A configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidConfiguration {
    /// The file is not YAML, or not of the kind.
    #[error("this is no {KIND} of {API_VERSION}: {0}")]
    NoConfiguration(String),
    /// There is no such setting.
    #[error("unknown field {0:?}")]
    UnknownField(String),
    /// A setting holds what it cannot hold.
    #[error("{key}: {value} is not {expected}")]
    Value {
        /// The key or flag.
        key: String,
        /// What it holds.
        value: String,
        /// What it should hold.
        expected: &'static str,
    },
}

/// What is configured: the settings that somebody set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Configuration {
    values: BTreeMap<&'static str, Value>,
    warnings: Vec<String>,
}

/// Where the proxy's servers listen, and what else it does besides rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Duties {
    /// `/healthz` and `/livez`; `None` for nowhere.
    pub healthz: Option<SocketAddr>,
    /// `/metrics`, `/proxyMode`, `/configz`; `None` for nowhere.
    pub metrics: Option<SocketAddr>,
    /// Whether to exit when a server cannot listen.
    pub hard_fail: bool,
    /// How long rules may be out of date before `/healthz` says so is twice this.
    pub sync_period: Duration,
    /// What of connection tracking is to be set.
    pub conntrack: Limits,
    /// `/proc/self/oom_score_adj`.
    pub oom_score_adj: i64,
    /// Whether what other modes and kube-proxy left in the kernel is removed once the rules are in place.
    pub take_over: bool,
    /// The configuration as `/configz` shows it.
    pub configz: Value,
}

impl Duties {
    /// No servers and no settings: for a proxy that is part of something larger.
    pub fn none() -> Self {
        Self {
            healthz: None,
            metrics: None,
            hard_fail: false,
            sync_period: Duration::from_secs(30),
            conntrack: Limits::default(),
            oom_score_adj: 0,
            take_over: false,
            configz: Value::Null,
        }
    }
}

impl Configuration {
    /// Reads a file.
    ///
    /// # Errors
    /// [`InvalidConfiguration`] names the field.
    pub fn read(&mut self, text: &str) -> Result<(), InvalidConfiguration> {
        let no = |why: String| InvalidConfiguration::NoConfiguration(why);
        let value: Value = serde_saphyr::from_str(text).map_err(|error| no(error.to_string()))?;
        let Value::Object(mut fields) = value else { return Err(no("it has no fields".to_owned())) };
        for (field, expected) in [("apiVersion", API_VERSION), ("kind", KIND)] {
            match fields.remove(field) {
                Some(Value::String(found)) if found == expected => {}
                Some(found) => return Err(no(format!("{field} is {found}"))),
                None => return Err(no(format!("{field} is missing"))),
            }
        }
        self.take(fields, "")
    }

    fn take(&mut self, fields: Map<String, Value>, above: &str) -> Result<(), InvalidConfiguration> {
        for (name, value) in fields {
            let key = if above.is_empty() { name } else { format!("{above}.{name}") };
            match (table::by_key(&key), value) {
                (Some(setting), value) => self.set(setting, setting.key, value)?,
                (None, Value::Object(inner)) if is_section(&key) => self.take(inner, &key)?,
                (None, Value::Null) if is_section(&key) => {}
                (None, _) => return Err(InvalidConfiguration::UnknownField(key)),
            }
        }
        Ok(())
    }

    /// Sets what a flag says.
    ///
    /// # Errors
    /// [`InvalidConfiguration::Value`] when the setting cannot hold that.
    pub fn set_flag(&mut self, setting: &'static Setting, text: &str) -> Result<(), InvalidConfiguration> {
        let value = match setting.kind {
            Kind::Bool => text.parse().map(Value::Bool).ok(),
            Kind::Int => text.parse::<i64>().map(Value::from).ok(),
            Kind::Number => text.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number),
            Kind::Text | Kind::Duration | Kind::Any => Some(Value::from(text)),
            Kind::List => Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()),
        };
        let flag = format!("--{}", setting.flag);
        let value = value.ok_or_else(|| InvalidConfiguration::Value {
            key: flag.clone(),
            value: text.to_owned(),
            expected: expected(setting.kind),
        })?;
        self.set(setting, &flag, value.clone())?;
        // One flag is for both modes that the file keeps apart.
        let twin = match setting.key {
            "iptables.masqueradeAll" => table::by_key("nftables.masqueradeAll"),
            "iptables.masqueradeBit" => table::by_key("nftables.masqueradeBit"),
            _ => None,
        };
        twin.map_or(Ok(()), |twin| self.set(twin, &flag, value))
    }

    fn set(
        &mut self,
        setting: &'static Setting,
        name: &str,
        value: Value,
    ) -> Result<(), InvalidConfiguration> {
        if is_nothing(setting, &value) {
            return Ok(());
        }
        let fits = match (setting.kind, &value) {
            (Kind::Bool, Value::Bool(_)) | (Kind::Text, Value::String(_)) | (Kind::Any, _) => true,
            (Kind::Int, Value::Number(number)) => number.is_i64(),
            (Kind::Number, Value::Number(_)) => true,
            (Kind::Duration, Value::String(text)) => duration::parse(text).is_some(),
            (Kind::List, Value::Array(items)) => items.iter().all(Value::is_string),
            _ => false,
        };
        if !fits {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            return Err(InvalidConfiguration::Value {
                key: name.to_owned(),
                value,
                expected: expected(setting.kind),
            });
        }
        if let Meaning::Without(why) = setting.meaning
            && Some(&value) != default(setting).as_ref()
        {
            self.warnings.push(format!("{name} has no effect here: {why}"));
        }
        if !setting.key.is_empty() {
            self.values.insert(setting.key, value);
        }
        Ok(())
    }

    /// Sentences about settings that mean nothing here.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The whole configuration as a file would say it, defaults filled in.
    pub fn complete(&self) -> Value {
        let mut whole = Map::new();
        whole.insert("apiVersion".to_owned(), API_VERSION.into());
        whole.insert("kind".to_owned(), KIND.into());
        for setting in SETTINGS.iter().filter(|setting| !setting.key.is_empty()) {
            let Some(value) = self.get(setting.key) else { continue };
            let mut place = &mut whole;
            let mut path = setting.key.split('.').peekable();
            while let Some(name) = path.next() {
                if path.peek().is_none() {
                    place.insert(name.to_owned(), value);
                    break;
                }
                let inner = place.entry(name).or_insert_with(|| Value::Object(Map::new()));
                match inner {
                    Value::Object(inner) => place = inner,
                    _ => break,
                }
            }
        }
        Value::Object(whole)
    }

    fn get(&self, key: &'static str) -> Option<Value> {
        self.values.get(key).cloned().or_else(|| default(table::by_key(key)?))
    }

    fn text(&self, key: &'static str) -> String {
        self.get(key).as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn int(&self, key: &'static str) -> i64 {
        self.get(key).as_ref().and_then(Value::as_i64).unwrap_or_default()
    }

    fn truth(&self, key: &'static str) -> bool {
        self.get(key).as_ref().and_then(Value::as_bool).unwrap_or_default()
    }

    fn duration(&self, key: &'static str) -> Duration {
        duration::parse(&self.text(key)).unwrap_or_default()
    }

    fn list(&self, key: &'static str) -> Vec<String> {
        let list = self.get(key);
        let items = list.as_ref().and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// The file that says how to reach the API server, if one is named.
    pub fn kubeconfig(&self) -> Option<String> {
        Some(self.text("clientConnection.kubeconfig")).filter(|file| !file.is_empty())
    }

    /// What the rules depend on. `host_name` is the node's name unless another is configured.
    ///
    /// # Errors
    /// [`InvalidConfiguration::Value`] for values that fit their kind but cannot be meant.
    pub fn config(&self, host_name: impl FnOnce() -> String) -> Result<Config, InvalidConfiguration> {
        let mode: ModeName = self
            .text("mode")
            .parse()
            .map_err(|_| self.wrong("mode", "one of nftables, iptables, ipvs, userspace"))?;
        let section = if mode == ModeName::Nftables { "nftables" } else { "iptables" };
        let bit_key = if section == "nftables" { "nftables.masqueradeBit" } else { "iptables.masqueradeBit" };
        let all_key = if section == "nftables" { "nftables.masqueradeAll" } else { "iptables.masqueradeAll" };
        let bit = u32::try_from(self.int(bit_key)).ok().filter(|bit| *bit < 32);
        let bit = bit.ok_or_else(|| self.wrong(bit_key, "a bit from 0 to 31"))?;
        let name = Some(self.text("hostnameOverride")).filter(|name| !name.is_empty());
        let seconds = |key| u32::try_from(self.duration(key).as_secs()).unwrap_or(u32::MAX);
        Ok(Config {
            node_name: name.unwrap_or_else(host_name).trim().to_lowercase().into(),
            node_address: self.bind_address()?,
            mode,
            detect_local: self.detect_local()?,
            node_port_addresses: self.node_port_addresses()?,
            masquerade_mark: 1 << bit,
            masquerade_all: self.truth(all_key),
            localhost_node_ports: self.truth("iptables.localhostNodePorts"),
            drop_invalid: !self.truth("conntrack.tcpBeLiberal"),
            kube_proxy_layout: false,
            sync_period: self.period("syncPeriod"),
            min_sync_period: self.period("minSyncPeriod"),
            ipvs: IpvsConfig {
                scheduler: self.text("ipvs.scheduler"),
                exclude_cidrs: self.ranges("ipvs.excludeCIDRs", &self.list("ipvs.excludeCIDRs"))?,
                strict_arp: self.truth("ipvs.strictARP"),
                tcp_timeout: seconds("ipvs.tcpTimeout"),
                tcp_fin_timeout: seconds("ipvs.tcpFinTimeout"),
                udp_timeout: seconds("ipvs.udpTimeout"),
            },
            node_local_dns: Vec::new(),
        })
    }

    /// What the proxy does besides rules.
    ///
    /// # Errors
    /// As [`Configuration::config`].
    pub fn duties(&self) -> Result<Duties, InvalidConfiguration> {
        Ok(Duties {
            healthz: self.listener("healthzBindAddress", 10256)?,
            metrics: self.listener("metricsBindAddress", 10249)?,
            hard_fail: self.truth("bindAddressHardFail"),
            sync_period: self.period("syncPeriod"),
            conntrack: Limits {
                max_per_core: u64::try_from(self.int("conntrack.maxPerCore")).unwrap_or_default(),
                min: u64::try_from(self.int("conntrack.min")).unwrap_or_default(),
                tcp_established: self.duration("conntrack.tcpEstablishedTimeout"),
                tcp_close_wait: self.duration("conntrack.tcpCloseWaitTimeout"),
                tcp_be_liberal: self.truth("conntrack.tcpBeLiberal"),
                udp: self.duration("conntrack.udpTimeout"),
                udp_stream: self.duration("conntrack.udpStreamTimeout"),
            },
            oom_score_adj: self.int("oomScoreAdj"),
            take_over: true,
            configz: self.complete(),
        })
    }

    /// The node's address, if the configuration gives one.
    fn bind_address(&self) -> Result<Option<IpAddr>, InvalidConfiguration> {
        let text = self.text("bindAddress");
        let address: IpAddr = text.parse().map_err(|_| self.wrong("bindAddress", "an IP address"))?;
        Ok(Some(address).filter(|address| !address.is_unspecified()))
    }

    /// A period of the mode; userspace mode shares those of iptables mode.
    fn period(&self, name: &str) -> Duration {
        let section = match self.text("mode").as_str() {
            "ipvs" => "ipvs",
            "iptables" | "userspace" => "iptables",
            _ => "nftables",
        };
        table::by_key(&format!("{section}.{name}"))
            .map(|setting| self.duration(setting.key))
            .unwrap_or_default()
    }

    fn detect_local(&self) -> Result<DetectLocal, InvalidConfiguration> {
        let needed = |key, expected| match self.text(key) {
            text if text.is_empty() => Err(self.wrong(key, expected)),
            text => Ok(text),
        };
        let cluster_cidrs = || {
            let text = self.text("clusterCIDR");
            let ranges: Vec<_> =
                text.split(',').map(str::to_owned).filter(|range| !range.is_empty()).collect();
            self.ranges("clusterCIDR", &ranges)
        };
        match self.text("detectLocalMode").as_str() {
            "ClusterCIDR" => Ok(DetectLocal::ClusterCidr(cluster_cidrs()?)),
            "NodeCIDR" => Ok(DetectLocal::NodeCidr),
            "BridgeInterface" => Ok(DetectLocal::BridgeInterface(needed(
                "detectLocal.bridgeInterface",
                "the name of a bridge",
            )?)),
            "InterfaceNamePrefix" => Ok(DetectLocal::InterfaceNamePrefix(needed(
                "detectLocal.interfaceNamePrefix",
                "the first part of interface names",
            )?)),
            _ => Err(self.wrong(
                "detectLocalMode",
                "one of ClusterCIDR, NodeCIDR, BridgeInterface, InterfaceNamePrefix",
            )),
        }
    }

    /// Ranges and keywords in any combination (KEP-6032).
    fn node_port_addresses(&self) -> Result<Option<NodePortAddresses>, InvalidConfiguration> {
        let (mut primary, mut ranges) = (false, Vec::new());
        let list = self.list("nodePortAddresses");
        for item in &list {
            match item.trim() {
                "primary" => primary = true,
                "all" => return Ok(Some(NodePortAddresses::All)),
                "localhost" => ranges.extend(LOOPBACK.map(str::to_owned)),
                range => ranges.push(range.to_owned()),
            }
        }
        let ranges = self.ranges("nodePortAddresses", &ranges)?;
        Ok(match (primary, ranges.is_empty()) {
            (false, true) => None,
            (true, true) => Some(NodePortAddresses::Primary),
            (true, false) => Some(NodePortAddresses::PrimaryAnd(ranges)),
            (false, false) => Some(NodePortAddresses::Ranges(ranges)),
        })
    }

    fn ranges(&self, key: &'static str, texts: &[String]) -> Result<Vec<Cidr>, InvalidConfiguration> {
        let ranges = texts.iter().map(|text| text.trim().parse());
        ranges
            .collect::<Result<_, _>>()
            .map_err(|_| self.wrong(key, "a list of ranges such as 10.244.0.0/16"))
    }

    /// `ADDRESS:PORT` or an address alone.
    fn listener(&self, key: &'static str, port: u16) -> Result<Option<SocketAddr>, InvalidConfiguration> {
        let text = self.text(key);
        let address = text.parse().ok().or_else(|| Some(SocketAddr::new(text.parse().ok()?, port)));
        let address: SocketAddr = address.ok_or_else(|| self.wrong(key, "ADDRESS:PORT"))?;
        Ok(Some(address).filter(|address| address.port() != 0))
    }

    fn wrong(&self, key: &'static str, expected: &'static str) -> InvalidConfiguration {
        let value = match self.get(key).unwrap_or_default() {
            Value::String(text) if text.is_empty() => "the empty text".to_owned(),
            Value::String(text) => text,
            value => value.to_string(),
        };
        InvalidConfiguration::Value { key: key.to_owned(), value, expected }
    }
}

/// Whether settings stand below this key.
fn is_section(key: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.key.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
}

/// Whether a value says no more than that nobody set the setting.
fn is_nothing(setting: &Setting, value: &Value) -> bool {
    match (value, setting.default) {
        (Value::Null, _) => true,
        (Value::String(text), _) if text.is_empty() => true,
        (Value::Array(items), _) => items.is_empty(),
        (Value::String(text), Preset::Duration(_)) => duration::parse(text) == Some(Duration::ZERO),
        // Go's zero value of a duration that was never written as a text.
        (Value::Number(number), _) if setting.kind == Kind::Duration => number.as_i64() == Some(0),
        (Value::Number(number), _) if setting.key.starts_with("clientConnection.") => {
            number.as_f64() == Some(0.0)
        }
        _ => false,
    }
}

fn default(setting: &Setting) -> Option<Value> {
    Some(match setting.default {
        Preset::None => return None,
        Preset::Bool(value) => value.into(),
        Preset::Int(value) => value.into(),
        Preset::Text(text) => text.into(),
        Preset::Duration(text) | Preset::DurationOrZero(text) => {
            duration::format(duration::parse(text).unwrap_or_default()).into()
        }
        Preset::List => Value::Array(Vec::new()),
    })
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "true or false",
        Kind::Int => "a whole number",
        Kind::Number => "a number",
        Kind::Text => "a text",
        Kind::Duration => "a time such as 30s or 1m",
        Kind::List => "a list of texts",
        Kind::Any => "a value",
    }
}

/// The name of this machine as a node's name: trimmed, in lower case.
pub fn node_name(name: &str) -> Arc<str> {
    name.trim().to_lowercase().into()
}

#[cfg(test)]
mod tests;

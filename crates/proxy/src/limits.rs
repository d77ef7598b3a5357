//! Kernel settings of connection tracking (`conntrack` in a KubeProxyConfiguration).

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// More connections than this are not tracked on account of the count of cores alone.
const MOST_BY_CORES: u64 = 1 << 20;
/// Tracked connections for each bucket of the kernel's hash table.
const CONNECTIONS_PER_BUCKET: u64 = 4;

/// What of connection tracking is to be set. Zero leaves the kernel's setting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Tracked connections for each core.
    pub max_per_core: u64,
    /// Tracked connections at least, if a count per core is given.
    pub min: u64,
    /// Idle time of established TCP connections.
    pub tcp_established: Duration,
    /// Idle time of TCP connections in CLOSE_WAIT.
    pub tcp_close_wait: Duration,
    /// Whether TCP packets outside the window pass.
    pub tcp_be_liberal: bool,
    /// Idle time of UDP connections without answers.
    pub udp: Duration,
    /// Idle time of UDP connections with answers.
    pub udp_stream: Duration,
}

impl Limits {
    /// The files to write, each with its value, on a machine with so many cores.
    fn settings(&self, cores: u64) -> Vec<(&'static str, u64)> {
        let max = match self.max_per_core {
            0 => 0,
            per_core => per_core.saturating_mul(cores).min(MOST_BY_CORES).max(self.min.min(MOST_BY_CORES)),
        };
        let settings = [
            ("nf_conntrack_max", max),
            ("nf_conntrack_tcp_timeout_established", self.tcp_established.as_secs()),
            ("nf_conntrack_tcp_timeout_close_wait", self.tcp_close_wait.as_secs()),
            ("nf_conntrack_tcp_be_liberal", u64::from(self.tcp_be_liberal)),
            ("nf_conntrack_udp_timeout", self.udp.as_secs()),
            ("nf_conntrack_udp_timeout_stream", self.udp_stream.as_secs()),
        ];
        settings.into_iter().filter(|(_, value)| *value != 0).collect()
    }

    /// Sets what differs, in the network namespace of this process. What cannot be set is logged: rules work
    /// without it.
    pub fn apply(&self) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        for (name, value) in self.settings(cores) {
            let file = Path::new("/proc/sys/net/netfilter").join(name);
            match set(&file, value) {
                Ok(()) if name == "nf_conntrack_max" => widen_table(value),
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(file = %file.display(), value, %error, "a setting of connection tracking was not made");
                }
            }
        }
    }
}

/// Gives the kernel's hash table enough buckets. Containers see its size read-only, which is no harm.
fn widen_table(connections: u64) {
    let file = PathBuf::from("/sys/module/nf_conntrack/parameters/hashsize");
    let buckets = connections / CONNECTIONS_PER_BUCKET;
    let now = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<u64>().ok());
    if now.is_some_and(|now| now < buckets)
        && let Err(error) = std::fs::write(&file, buckets.to_string())
    {
        tracing::debug!(%error, buckets, "the table of tracked connections keeps its size");
    }
}

fn set(file: &Path, value: u64) -> io::Result<()> {
    let now = std::fs::read_to_string(file)?;
    if now.trim() == value.to_string() { Ok(()) } else { std::fs::write(file, value.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_follows_the_cores_between_the_least_and_a_million() {
        let max = |max_per_core, min, cores| {
            let settings = Limits { max_per_core, min, ..Limits::default() }.settings(cores);
            settings.first().map(|(_, value)| *value)
        };
        assert_eq!(max(32_768, 131_072, 2), Some(131_072));
        assert_eq!(max(32_768, 131_072, 8), Some(262_144));
        assert_eq!(max(32_768, 131_072, 96), Some(1_048_576));
        assert_eq!(max(0, 131_072, 8), None, "0 leaves the kernel's limit");
    }

    #[test]
    fn only_what_is_asked_for_is_set() {
        let limits = Limits { udp: Duration::from_secs(10), tcp_be_liberal: true, ..Limits::default() };
        assert_eq!(
            limits.settings(1),
            [("nf_conntrack_tcp_be_liberal", 1), ("nf_conntrack_udp_timeout", 10)]
        );
    }
}

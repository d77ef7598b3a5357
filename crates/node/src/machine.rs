//! Facts about the machine: its size, kernel and operating system.

use std::fs;

/// What the Node object tells about the machine.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Machine {
    /// Processors that this process may use.
    pub(crate) cpus: usize,
    /// Bytes of main memory.
    pub(crate) memory: u64,
    /// Bytes of the file system that holds the data.
    pub(crate) storage: u64,
    /// `uname -r`.
    pub(crate) kernel: String,
    /// `PRETTY_NAME` of os-release(5).
    pub(crate) os_image: String,
    /// machine-id(5).
    pub(crate) machine_id: String,
    /// Changes with every boot.
    pub(crate) boot_id: String,
}

impl Machine {
    /// Looks at the machine; what cannot be read stays empty.
    pub(crate) fn look(data_dir: &std::path::Path) -> Self {
        let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let storage = rustix::fs::statvfs(data_dir).map_or(0, |stat| stat.f_blocks * stat.f_frsize);
        Self {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory: memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
            storage,
            kernel: line("/proc/sys/kernel/osrelease"),
            os_image: pretty_name(&fs::read_to_string("/etc/os-release").unwrap_or_default()),
            machine_id: line("/etc/machine-id"),
            boot_id: line("/proc/sys/kernel/random/boot_id"),
        }
    }
}

/// `MemTotal` of /proc/meminfo, in bytes.
fn memory(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = total.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

fn pretty_name(os_release: &str) -> String {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    value.unwrap_or("Linux").trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_name_are_read_from_their_files() {
        assert_eq!(memory("MemFree: 1 kB\nMemTotal:       16 kB\n"), 16 * 1024);
        assert_eq!(memory(""), 0);
        assert_eq!(pretty_name("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n"), "Debian GNU/Linux 12");
    }
}

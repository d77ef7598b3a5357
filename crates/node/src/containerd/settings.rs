//! The configuration file of the node's own containerd.

use std::collections::BTreeMap;

use super::{Paths, snapshotter::Snapshotter};

/// containerd's parts that a node agent's containerd does not need.
const DISABLED_PLUGINS: [&str; 8] = [
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.tracing",
    "io.containerd.tracing.processor.v1.otlp",
];

/// Renders configuration version 2, which containerd 1.6, 1.7 and 2.x read.
///
/// The streaming server listens on the node's loopback, as the node's API hands exec, attach and port-forward
/// on to it. `restrict_oom_score_adj` lets containerd run without CAP_SYS_RESOURCE. The environment is told in
/// comments, so that the file says all with which containerd was started.
pub(super) fn render(
    paths: &Paths,
    snapshotter: Snapshotter,
    sandbox_image: &str,
    environment: &BTreeMap<String, String>,
) -> String {
    let told = environment.iter().map(|(name, value)| format!("# {name}={}\n", quote(value)));
    let disabled: Vec<String> = DISABLED_PLUGINS.iter().map(|plugin| quote(plugin)).collect();
    let text = |path: &std::path::Path| quote(&path.to_string_lossy());
    format!(
        r#"{environment}version = 2
root = {root}
state = {state}
disabled_plugins = [{disabled}]

[grpc]
address = {socket}

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = {sandbox_image}
restrict_oom_score_adj = true
stream_server_address = "127.0.0.1"
stream_server_port = "0"
netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = {cni_bin}
conf_dir = {cni_conf}

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = {snapshotter}
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = {runc_root}
"#,
        environment = told.collect::<String>(),
        root = text(&paths.root),
        state = text(&paths.state),
        disabled = disabled.join(", "),
        socket = text(&paths.socket),
        sandbox_image = quote(sandbox_image),
        cni_bin = text(&paths.cni_bin),
        cni_conf = text(&paths.cni_conf),
        snapshotter = quote(snapshotter.name()),
        runc_root = text(&paths.state.join("runc")),
    )
}

/// A TOML basic string.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;

    #[test]
    fn a_path_cannot_break_out_of_its_string() {
        assert_eq!(quote("/a\"b\\c\n"), r#""/a\"b\\c\u000a""#);
    }

    #[test]
    fn every_path_is_of_this_node() {
        let environment = BTreeMap::from([("HTTPS_PROXY".to_owned(), "http://192.0.2.1\nx".to_owned())]);
        let rendered =
            render(&Paths::of(&config("/data/n1")), Snapshotter::Native, "example/pause:1", &environment);
        assert!(rendered.contains(r#"root = "/data/n1/containerd/root""#));
        assert!(rendered.contains(r#"conf_dir = "/data/n1/cni/conf""#));
        assert!(rendered.contains(r#"snapshotter = "native""#));
        assert!(!rendered.contains("/run/containerd"));
        assert!(
            rendered.starts_with("# HTTPS_PROXY=\"http://192.0.2.1\\u000ax\"\nversion = 2\n"),
            "{rendered}"
        );
    }
}

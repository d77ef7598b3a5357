//! A container in the CRI's words.

use k8s_openapi::{
    api::core::v1::{Container, Pod},
    apimachinery::pkg::api::resource::Quantity,
};

use super::{
    env::{self, Environment},
    names, quantity, security,
};
use crate::cri::messages::*;

/// CPU time is dealt out in periods of this many microseconds.
const CPU_PERIOD: i64 = 100_000;
/// The fewest CPU shares the kernel knows.
const MIN_SHARES: i64 = 2;
/// The most CPU shares the kernel knows.
const MAX_SHARES: i64 = 262_144;

/// The configuration of a container's n-th run (`attempt`) with image `image_ref`.
pub(super) fn config(
    pod: &Pod,
    container: &Container,
    attempt: u32,
    image_ref: &str,
    environment: &Environment,
    mounts: Vec<Mount>,
) -> ContainerConfig {
    let expand = |words: &Option<Vec<String>>| {
        words.iter().flatten().map(|word| env::expand(word, environment)).collect::<Vec<_>>()
    };
    let mut labels = names::labels(pod);
    labels.insert(names::CONTAINER_NAME.into(), container.name.clone());
    ContainerConfig {
        metadata: Some(ContainerMetadata { name: container.name.clone(), attempt }),
        image: Some(ImageSpec {
            image: image_ref.to_owned(),
            user_specified_image: container.image.clone().unwrap_or_default(),
            ..Default::default()
        }),
        command: expand(&container.command),
        args: expand(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: environment
            .iter()
            .map(|(key, value)| KeyValue { key: key.clone(), value: value.clone().into_bytes() })
            .collect(),
        mounts,
        labels,
        log_path: names::log_path(&container.name, attempt),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
        linux: Some(LinuxContainerConfig {
            resources: Some(resources(container)),
            security_context: Some(security::container(pod, container)),
        }),
        ..Default::default()
    }
}

/// CPU and memory, as cgroups have them. A missing request is the limit, as the API's defaults have it.
fn resources(container: &Container) -> LinuxContainerResources {
    let own = container.resources.clone().unwrap_or_default();
    let limit = |name: &str| own.limits.as_ref().and_then(|limits| limits.get(name));
    let request = |name: &str| own.requests.as_ref().and_then(|requests| requests.get(name)).or(limit(name));
    let milli = |quantity: &Quantity| quantity::scaled(quantity, 1000.0);
    LinuxContainerResources {
        cpu_period: CPU_PERIOD,
        cpu_quota: limit("cpu").and_then(milli).map_or(0, |milli| (milli * CPU_PERIOD / 1000).max(1000)),
        cpu_shares: request("cpu")
            .and_then(milli)
            .map_or(MIN_SHARES, |milli| (milli * 1024 / 1000).clamp(MIN_SHARES, MAX_SHARES)),
        memory_limit_in_bytes: limit("memory")
            .and_then(|quantity| quantity::scaled(quantity, 1.0))
            .unwrap_or(0),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn command_and_arguments_have_their_variables_written_out() {
        let container: Container = serde_json::from_value(json!({
            "name": "c", "command": ["run", "$(A)"], "args": ["$$(A)"], "stdin": true, "tty": true,
        }))
        .unwrap();
        let env = vec![("A".to_owned(), "1".to_owned())];
        let config = config(&Pod::default(), &container, 3, "sha256:1", &env, vec![]);
        assert_eq!((config.command, config.args), (vec!["run".into(), "1".into()], vec!["$(A)".into()]));
        assert_eq!(config.log_path, "c/3.log");
        assert!(config.stdin && config.tty && !config.stdin_once);
    }

    #[test]
    fn limits_become_quota_and_requests_become_shares() {
        let container: Container = serde_json::from_value(json!({
            "name": "c", "resources": {"limits": {"cpu": "500m", "memory": "1Mi"}},
        }))
        .unwrap();
        let resources = resources(&container);
        assert_eq!((resources.cpu_quota, resources.cpu_shares), (50_000, 512));
        assert_eq!(resources.memory_limit_in_bytes, 1 << 20);
        assert_eq!(super::resources(&Container::default()).cpu_shares, MIN_SHARES);
    }
}

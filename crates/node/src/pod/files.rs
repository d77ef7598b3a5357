//! The API objects that a pod's containers and volumes are made from.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret};
use kube::{Api, Client};

use super::env::Sources;

/// Fetches every ConfigMap and Secret that the pod names. Missing ones are left out: whether that is an
/// error is for those who use them to say.
pub(super) async fn fetch(client: &Client, pod: &Pod) -> Result<Sources, kube::Error> {
    let names = Names::of(pod);
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut sources = Sources::default();
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    for name in names.config_maps {
        if let Some(map) = config_maps.get_opt(&name).await? {
            sources.config_maps.insert(name, map);
        }
    }
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    for name in names.secrets {
        if let Some(secret) = secrets.get_opt(&name).await? {
            sources.secrets.insert(name, secret);
        }
    }
    Ok(sources)
}

/// The names of objects that a pod is made from.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Names {
    pub(super) config_maps: BTreeSet<String>,
    pub(super) secrets: BTreeSet<String>,
}

impl Names {
    /// The names in containers and volumes.
    pub(super) fn of(pod: &Pod) -> Self {
        let mut names = Self::default();
        let Some(spec) = &pod.spec else { return names };
        for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
            names.container(container);
        }
        for volume in spec.volumes.iter().flatten() {
            names.config_maps.extend(volume.config_map.iter().map(|map| map.name.clone()));
            names.secrets.extend(volume.secret.iter().filter_map(|secret| secret.secret_name.clone()));
            let projections =
                volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
            for source in projections {
                names.config_maps.extend(source.config_map.iter().map(|map| map.name.clone()));
                names.secrets.extend(source.secret.iter().map(|secret| secret.name.clone()));
            }
        }
        names
    }

    fn container(&mut self, container: &Container) {
        for from in container.env_from.iter().flatten() {
            self.config_maps.extend(from.config_map_ref.iter().map(|map| map.name.clone()));
            self.secrets.extend(from.secret_ref.iter().map(|secret| secret.name.clone()));
        }
        for from in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
            self.config_maps.extend(from.config_map_key_ref.iter().map(|key| key.name.clone()));
            self.secrets.extend(from.secret_key_ref.iter().map(|key| key.name.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_are_found_in_variables_and_volumes() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "containers": [{"name": "c",
                "envFrom": [{"configMapRef": {"name": "a"}}],
                "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}],
            "volumes": [
                {"name": "v", "configMap": {"name": "b"}},
                {"name": "w", "projected": {"sources": [{"secret": {"name": "t"}}, {"configMap": {"name": "c"}}]}}]}}))
        .unwrap();
        let names = Names::of(&pod);
        assert_eq!(names.config_maps, ["a", "b", "c"].map(String::from).into());
        assert_eq!(names.secrets, ["s", "t"].map(String::from).into());
    }
}

//! A container's environment, command and arguments, with `$(NAME)` written out.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, Pod, Secret};

use super::{
    downward::{self, Facts},
    tokens,
};

/// The ConfigMaps and Secrets that a pod names, as far as they exist, and its tokens.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    /// By name.
    pub(super) config_maps: BTreeMap<String, ConfigMap>,
    /// By name.
    pub(super) secrets: BTreeMap<String, Secret>,
    /// Of the pod's ServiceAccount.
    pub(super) tokens: tokens::ByPurpose,
}

/// Names and values, in the order in which they are set.
pub(super) type Environment = Vec<(String, String)>;

/// The environment of a container: what tells of Services (`links`), then `envFrom`, then `env`; later names
/// win. The error is a sentence for the pod's status.
pub(super) fn environment(
    pod: &Pod,
    container: &Container,
    facts: &Facts,
    sources: &Sources,
    links: Environment,
) -> Result<Environment, String> {
    let mut environment = links;
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(map) = &from.config_map_ref {
            match sources.config_maps.get(&map.name) {
                Some(object) => {
                    for (key, value) in object.data.iter().flatten() {
                        set(&mut environment, format!("{prefix}{key}"), value.clone());
                    }
                }
                None if map.optional == Some(true) => {}
                None => return Err(format!("configmap {:?} not found", map.name)),
            }
        }
        if let Some(secret) = &from.secret_ref {
            match sources.secrets.get(&secret.name) {
                Some(object) => {
                    for (key, value) in object.data.iter().flatten() {
                        let value = String::from_utf8_lossy(&value.0).into_owned();
                        set(&mut environment, format!("{prefix}{key}"), value);
                    }
                }
                None if secret.optional == Some(true) => {}
                None => return Err(format!("secret {:?} not found", secret.name)),
            }
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value_of(pod, container, variable, facts, sources, &environment)? {
            set(&mut environment, variable.name.clone(), value);
        }
    }
    Ok(environment)
}

/// The value of one `env` entry; `None` when its source is optional and missing.
fn value_of(
    pod: &Pod,
    container: &Container,
    variable: &EnvVar,
    facts: &Facts,
    sources: &Sources,
    so_far: &Environment,
) -> Result<Option<String>, String> {
    let Some(from) = &variable.value_from else {
        return Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), so_far)));
    };
    if let Some(selector) = &from.field_ref {
        return downward::field(pod, facts, selector).map(Some);
    }
    if let Some(selector) = &from.resource_field_ref {
        let named = selector.container_name.as_ref().filter(|name| !name.is_empty());
        let of =
            named.and_then(|name| pod.spec.as_ref()?.containers.iter().find(|other| other.name == *name));
        return downward::resource(of.unwrap_or(container), facts, selector).map(Some);
    }
    if let Some(key) = &from.config_map_key_ref {
        let map = sources.config_maps.get(&key.name);
        if map.is_none() && key.optional != Some(true) {
            return Err(format!("configmap {:?} not found", key.name));
        }
        let value = map.and_then(|map| map.data.as_ref()?.get(&key.key)).cloned();
        let missing = format!("couldn't find key {} in ConfigMap {}/{}", key.key, namespace(pod), key.name);
        return optional(value, key.optional, missing);
    }
    if let Some(key) = &from.secret_key_ref {
        let secret = sources.secrets.get(&key.name);
        if secret.is_none() && key.optional != Some(true) {
            return Err(format!("secret {:?} not found", key.name));
        }
        let value = secret.and_then(|secret| secret.data.as_ref()?.get(&key.key));
        let value = value.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned());
        let missing = format!("couldn't find key {} in Secret {}/{}", key.key, namespace(pod), key.name);
        return optional(value, key.optional, missing);
    }
    Err(format!("environment variable {:?} has a source that this node does not know", variable.name))
}

fn optional(
    value: Option<String>,
    optional: Option<bool>,
    missing: String,
) -> Result<Option<String>, String> {
    if value.is_none() && optional != Some(true) { Err(missing) } else { Ok(value) }
}

fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

fn set(environment: &mut Environment, name: String, value: String) {
    environment.retain(|(old, _)| *old != name);
    environment.push((name, value));
}

/// Replaces `$(NAME)` by the variable's value. `$$` is a single dollar sign; a name that is not set, and a
/// dollar sign before anything else, stay as they are.
pub(super) fn expand(text: &str, environment: &Environment) -> String {
    let values: HashMap<&str, &str> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match values.get(name) {
                Some(value) => out.push_str(value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pod::downward::tests::facts;

    fn env_of(container: serde_json::Value, sources: &Sources) -> Result<Environment, String> {
        let container: Container = serde_json::from_value(container).unwrap();
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns"}})).unwrap();
        environment(&pod, &container, &facts(), sources, Environment::new())
    }

    #[test]
    fn references_are_written_out_and_doubled_dollars_are_escapes() {
        let env = vec![("A".to_owned(), "1".to_owned())];
        for (text, expanded) in [
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$A $(A", "$A $(A"),
            ("$", "$"),
        ] {
            assert_eq!(expand(text, &env), expanded, "{text}");
        }
    }

    #[test]
    fn a_value_sees_earlier_variables_only_and_env_wins_over_env_from() {
        let config: ConfigMap =
            serde_json::from_value(json!({"metadata": {"name": "c"}, "data": {"A": "from", "B": "b"}}))
                .unwrap();
        let sources = Sources { config_maps: [("c".into(), config)].into(), ..Default::default() };
        let container = json!({"name": "c",
            "envFrom": [{"prefix": "P_", "configMapRef": {"name": "c"}}, {"configMapRef": {"name": "c"}}],
            "env": [{"name": "X", "value": "$(A) $(Y)"}, {"name": "A", "value": "env"}, {"name": "Y", "value": "$(A)"}]});
        let env: BTreeMap<String, String> = env_of(container, &sources).unwrap().into_iter().collect();
        assert_eq!(env["X"], "from $(Y)");
        assert_eq!((env["A"].as_str(), env["Y"].as_str(), env["P_B"].as_str()), ("env", "env", "b"));
    }

    #[test]
    fn a_missing_key_is_an_error_unless_it_is_optional() {
        let variable = |optional: bool| {
            json!({"name": "c", "env": [{"name": "S", "valueFrom":
                {"secretKeyRef": {"name": "s", "key": "k", "optional": optional}}}]})
        };
        assert_eq!(env_of(variable(true), &Sources::default()).unwrap(), []);
        let error = env_of(variable(false), &Sources::default()).unwrap_err();
        assert_eq!(error, "secret \"s\" not found");
        let sources = Sources { secrets: [("s".into(), Secret::default())].into(), ..Default::default() };
        assert_eq!(env_of(variable(true), &sources).unwrap(), []);
        let error = env_of(variable(false), &sources).unwrap_err();
        assert_eq!(error, "couldn't find key k in Secret ns/s");
    }
}

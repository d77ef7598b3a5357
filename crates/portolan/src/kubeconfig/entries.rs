//! The entries of one cluster in a kubeconfig as a value (kubectl's `clientcmd/api/v1`).
//!
//! Cluster, user and context are named after the cluster. The cluster's entry carries an extension by which
//! Portolan knows its own; fields and entries that are not its own pass through unread.

use anyhow::bail;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// The extension that marks entries of Portolan.
const EXTENSION: &str = "portolan.dev/cluster";

/// What gives access to a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// The cluster's name.
    pub(crate) cluster: String,
    /// The API's address, `https://HOST:PORT`.
    pub(crate) server: String,
    /// The certificate of the cluster's authority.
    pub(crate) ca_pem: String,
    /// The administrator's certificate.
    pub(crate) certificate_pem: String,
    /// Its private key.
    pub(crate) key_pem: String,
}

/// Whether the entries of the cluster lead to its server by a certificate that is still good.
pub(super) fn gives(config: &Value, access: &Access, is_valid: impl Fn(&str) -> bool) -> bool {
    let name = &access.cluster;
    let Some(cluster) = find(config, "clusters", name) else { return false };
    let (Some(user), Some(context)) = (find(config, "users", name), find(config, "contexts", name)) else {
        return false;
    };
    let certificate = decode(&user["user"]["client-certificate-data"]);
    cluster["cluster"]["server"] == access.server.as_str()
        && cluster["cluster"]["certificate-authority-data"] == encode(&access.ca_pem)
        && context["context"]["cluster"] == name.as_str()
        && context["context"]["user"] == name.as_str()
        && user["user"]["client-key-data"].is_string()
        && certificate.is_some_and(|pem| is_valid(&pem))
}

/// Adds or replaces the entries of the cluster.
///
/// # Errors
/// The value is no kubeconfig, or another cluster has the name.
pub(super) fn merge(config: &mut Value, access: &Access) -> anyhow::Result<()> {
    let name = &access.cluster;
    if config.is_null() {
        *config = json!({ "apiVersion": "v1", "kind": "Config" });
    }
    check(config)?;
    let present = find(config, "clusters", name);
    if present.is_some_and(|cluster| !is_own(cluster, &access.ca_pem)) {
        bail!(
            "it has a cluster {name} that Portolan did not make; choose another --name or another --kubeconfig"
        );
    }
    if present.is_none()
        && (find(config, "users", name).is_some() || find(config, "contexts", name).is_some())
    {
        bail!(
            "it has a user or a context {name} of another cluster; choose another --name or another --kubeconfig"
        );
    }
    let is_new = find(config, "contexts", name).is_none();
    let extension = json!([{ "name": EXTENSION, "extension": { "name": name } }]);
    put(
        config,
        "clusters",
        name,
        "cluster",
        json!({
            "server": access.server, "certificate-authority-data": encode(&access.ca_pem), "extensions": extension,
        }),
    );
    put(
        config,
        "users",
        name,
        "user",
        json!({
            "client-certificate-data": encode(&access.certificate_pem), "client-key-data": encode(&access.key_pem),
        }),
    );
    put(config, "contexts", name, "context", json!({ "cluster": name, "user": name }));
    if is_new || config["current-context"].as_str().is_none_or(str::is_empty) {
        config["current-context"] = name.as_str().into();
    }
    Ok(())
}

/// Takes out the entries of the cluster. Returns whether there were any.
pub(super) fn remove(config: &mut Value, name: &str, ca_pem: &str) -> bool {
    if check(config).is_err()
        || !find(config, "clusters", name).is_some_and(|cluster| is_own(cluster, ca_pem))
    {
        return false;
    }
    for list in ["clusters", "users", "contexts"] {
        if let Some(entries) = config[list].as_array_mut() {
            entries.retain(|entry| entry["name"] != name);
        }
    }
    if config["current-context"] == name {
        config["current-context"] = "".into();
    }
    true
}

/// Whether nobody would miss the file.
pub(super) fn is_empty(config: &Value) -> bool {
    let nothing = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(entries) => entries.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    let fields = config.as_object().into_iter().flatten();
    fields.into_iter().all(|(name, value)| matches!(name.as_str(), "apiVersion" | "kind") || nothing(value))
}

/// Refuses what has not the shape of a kubeconfig.
fn check(config: &Value) -> anyhow::Result<()> {
    let Some(fields) = config.as_object() else { bail!("it is no kubeconfig") };
    for list in ["clusters", "users", "contexts"] {
        match fields.get(list) {
            None | Some(Value::Null) => {}
            Some(Value::Array(entries)) if entries.iter().all(Value::is_object) => {}
            Some(_) => bail!("it is no kubeconfig: {list} is not a list of entries"),
        }
    }
    Ok(())
}

/// Whether Portolan made this entry: it says so, or is for the same authority.
fn is_own(cluster: &Value, ca_pem: &str) -> bool {
    let extensions = cluster["cluster"]["extensions"].as_array();
    let marked = extensions.is_some_and(|list| list.iter().any(|extension| extension["name"] == EXTENSION));
    marked || cluster["cluster"]["certificate-authority-data"] == encode(ca_pem)
}

fn find<'a>(config: &'a Value, list: &str, name: &str) -> Option<&'a Value> {
    config[list].as_array()?.iter().find(|entry| entry["name"] == name)
}

/// Sets fields of the entry `name`; others that it has stay.
fn put(config: &mut Value, list: &str, name: &str, field: &str, fields: Value) {
    if !config[list].is_array() {
        config[list] = json!([]);
    }
    let Some(entries) = config[list].as_array_mut() else { return };
    let at = entries.iter().position(|entry| entry["name"] == name).unwrap_or_else(|| {
        entries.push(json!({ "name": name }));
        entries.len() - 1
    });
    if !entries[at][field].is_object() {
        entries[at][field] = Value::Object(Map::new());
    }
    if let (Some(present), Value::Object(fields)) = (entries[at][field].as_object_mut(), fields) {
        present.extend(fields);
    }
}

fn encode(pem: &str) -> String {
    STANDARD.encode(pem)
}

fn decode(data: &Value) -> Option<String> {
    String::from_utf8(STANDARD.decode(data.as_str()?).ok()?).ok()
}

//! What the files of a volume hold that is made from API objects: a pure function of the pod and those objects.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod, Volume};

use super::{
    super::{
        downward::{self, Facts},
        env::Sources,
        tokens::Purpose,
    },
    atomic::{self, File, inside},
    fs_group,
};

/// Permission bits of files from objects, when a volume names none.
const DEFAULT_MODE: i32 = 0o644;

/// Files of a volume made from objects: path below the volume, contents, permission bits.
type Files = Vec<(String, Vec<u8>, i32)>;

/// The files of a volume that is made from API objects.
pub(super) fn files_of(
    pod: &Pod,
    volume: &Volume,
    facts: &Facts,
    sources: &Sources,
) -> Result<atomic::Files, String> {
    let tokens = &sources.tokens;
    let mut wanted = atomic::Files::new();
    for (path, contents, mode) in list(pod, volume, facts, sources)? {
        let mode = mode.cast_unsigned() & 0o777;
        wanted.insert(inside(&path)?.to_owned(), File { contents, mode, owner: None });
    }
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    for token in sources.filter_map(|source| source.service_account_token.as_ref()) {
        let purpose = Purpose::new(token.audience.as_deref(), token.expiration_seconds);
        let held = tokens.get(&purpose).ok_or("failed to fetch token: there is none")?;
        let default = volume.projected.as_ref().and_then(|projected| projected.default_mode);
        let mut file = File {
            contents: held.clone().into_bytes(),
            mode: default.unwrap_or(DEFAULT_MODE).cast_unsigned() & 0o777,
            owner: only_user(pod),
        };
        // Nobody else's, once it is known whose it is (KEP-2451).
        if file.owner.is_some() || fs_group(pod).is_some() {
            file.mode = 0o600;
        }
        wanted.insert(inside(&token.path)?.to_owned(), file);
    }
    Ok(wanted)
}

fn list(pod: &Pod, volume: &Volume, facts: &Facts, sources: &Sources) -> Result<Files, String> {
    let mode = |mode: Option<i32>| mode.unwrap_or(DEFAULT_MODE);
    if let Some(map) = &volume.config_map {
        let data = config_map(sources, &map.name, map.optional)?;
        return select(data, map.items.as_deref(), mode(map.default_mode), map.optional);
    }
    if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        let data = secret_data(sources, name, secret.optional)?;
        return select(data, secret.items.as_deref(), mode(secret.default_mode), secret.optional);
    }
    if let Some(downward) = &volume.downward_api {
        return downward_files(pod, facts, downward.items.as_deref(), mode(downward.default_mode));
    }
    let Some(projected) = &volume.projected else {
        return Err("this node has no volumes of this kind".into());
    };
    let mode = mode(projected.default_mode);
    let mut files = Files::new();
    for source in projected.sources.iter().flatten() {
        if let Some(map) = &source.config_map {
            let data = config_map(sources, &map.name, map.optional)?;
            files.extend(select(data, map.items.as_deref(), mode, map.optional)?);
        }
        if let Some(secret) = &source.secret {
            let data = secret_data(sources, &secret.name, secret.optional)?;
            files.extend(select(data, secret.items.as_deref(), mode, secret.optional)?);
        }
        if let Some(downward) = &source.downward_api {
            files.extend(downward_files(pod, facts, downward.items.as_deref(), mode)?);
        }
    }
    Ok(files)
}

/// The user as whom all of the pod's containers run, if they name one and the same.
fn only_user(pod: &Pod) -> Option<u32> {
    let spec = pod.spec.as_ref()?;
    let of_pod = spec.security_context.as_ref().and_then(|context| context.run_as_user);
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let mut users = containers.map(|container| {
        container.security_context.as_ref().and_then(|context| context.run_as_user).or(of_pod)
    });
    let first = users.next()??;
    users.all(|user| user == Some(first)).then(|| u32::try_from(first).ok())?
}

type Data = BTreeMap<String, Vec<u8>>;

fn config_map(sources: &Sources, name: &str, optional: Option<bool>) -> Result<Data, String> {
    let Some(map) = sources.config_maps.get(name) else {
        return if optional == Some(true) {
            Ok(Data::new())
        } else {
            Err(format!("configmap \"{name}\" not found"))
        };
    };
    let text = map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
    Ok(text.chain(binary).collect())
}

fn secret_data(sources: &Sources, name: &str, optional: Option<bool>) -> Result<Data, String> {
    let Some(secret) = sources.secrets.get(name) else {
        return if optional == Some(true) {
            Ok(Data::new())
        } else {
            Err(format!("secret \"{name}\" not found"))
        };
    };
    Ok(secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect())
}

/// All keys as files, or those that `items` name.
fn select(
    mut data: Data,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: Option<bool>,
) -> Result<Files, String> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(data.into_iter().map(|(key, value)| (key, value, mode)).collect());
    };
    let mut files = Files::new();
    for item in items {
        match data.remove(&item.key) {
            Some(value) => files.push((item.path.clone(), value, item.mode.unwrap_or(mode))),
            None if optional == Some(true) => {}
            None => return Err(format!("references non-existent config key: {}", item.key)),
        }
    }
    Ok(files)
}

fn downward_files(
    pod: &Pod,
    facts: &Facts,
    items: Option<&[DownwardAPIVolumeFile]>,
    mode: i32,
) -> Result<Files, String> {
    let mut files = Files::new();
    for item in items.unwrap_or_default() {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => downward::field(pod, facts, field)?,
            (None, Some(resource)) => {
                let name = resource.container_name.as_deref().unwrap_or_default();
                let container =
                    pod.spec.iter().flat_map(|spec| &spec.containers).find(|other| other.name == name);
                let container = container.ok_or_else(|| format!("container {name:?} does not exist"))?;
                downward::resource(container, facts, resource)?
            }
            (None, None) => return Err(format!("{:?} has neither fieldRef nor resourceFieldRef", item.path)),
        };
        files.push((item.path.clone(), text.into_bytes(), item.mode.unwrap_or(mode)));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::pod::downward::tests::facts;

    fn files(volume: serde_json::Value, sources: &Sources) -> Result<atomic::Files, String> {
        let pod =
            serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": []}})).unwrap();
        files_of(&pod, &serde_json::from_value(volume).unwrap(), &facts(), sources)
    }

    fn sources() -> Sources {
        let map = serde_json::from_value(json!({"data": {"a": "1", "b": "2"}})).unwrap();
        Sources { config_maps: [("m".into(), map)].into(), ..Default::default() }
    }

    #[test]
    fn config_map_keys_become_files_by_item_path_and_mode() {
        let all = files(json!({"name": "v", "configMap": {"name": "m"}}), &sources()).unwrap();
        assert_eq!(all[Path::new("a")], File { contents: b"1".to_vec(), mode: 0o644, owner: None });
        let items = json!([{"key": "b", "path": "x/y", "mode": 0o600}]);
        let some =
            files(json!({"name": "v", "configMap": {"name": "m", "items": items}}), &sources()).unwrap();
        assert_eq!(some, [("x/y".into(), File { contents: b"2".to_vec(), mode: 0o600, owner: None })].into());
    }

    #[test]
    fn no_item_and_no_key_leads_out_of_its_volume() {
        for path in ["../x", "/x", "a/../../x", "..data", "..", "."] {
            let items = json!([{"key": "a", "path": path}]);
            let volume = json!({"name": "v", "configMap": {"name": "m", "items": items}});
            assert!(files(volume, &sources()).is_err(), "{path}");
            let map = serde_json::from_value(json!({"data": {path: "1"}})).unwrap();
            let hostile = Sources { config_maps: [("m".into(), map)].into(), ..Default::default() };
            let projected = json!({"sources": [{"configMap": {"name": "m"}}]});
            assert!(files(json!({"name": "v", "projected": projected}), &hostile).is_err(), "{path}");
        }
    }

    #[test]
    fn a_token_belongs_to_the_user_of_all_containers_and_is_closed_to_others_then() {
        let purpose = Purpose::new(None, None);
        let sources = Sources { tokens: [(purpose, "jwt".to_owned())].into(), ..Default::default() };
        let projected = json!({"sources": [{"serviceAccountToken": {"path": "token"}}]});
        let volume: Volume = serde_json::from_value(json!({"name": "v", "projected": projected})).unwrap();
        let file = |context: serde_json::Value, own: serde_json::Value| {
            let containers = json!([{"name": "a"}, {"name": "b", "securityContext": {"runAsUser": own}}]);
            let spec = json!({"securityContext": context, "containers": containers});
            let pod = serde_json::from_value(json!({"spec": spec})).unwrap();
            let file =
                files_of(&pod, &volume, &facts(), &sources).unwrap().remove(Path::new("token")).unwrap();
            assert_eq!(file.contents, b"jwt");
            (file.mode, file.owner)
        };
        assert_eq!(file(json!({}), json!(null)), (0o644, None));
        assert_eq!(file(json!({"runAsUser": 7}), json!(null)), (0o600, Some(7)));
        assert_eq!(file(json!({"runAsUser": 7}), json!(8)), (0o644, None));
        assert_eq!(file(json!({"fsGroup": 9}), json!(null)), (0o600, None));
        let none = files_of(&Pod::default(), &volume, &facts(), &Sources::default()).unwrap_err();
        assert!(none.contains("token"), "{none}");
    }

    #[test]
    fn a_missing_object_and_an_unknown_kind_are_sentences() {
        let error = |volume| files(volume, &Sources::default()).unwrap_err();
        assert_eq!(error(json!({"name": "v", "secret": {"secretName": "s"}})), "secret \"s\" not found");
        assert!(error(json!({"name": "v", "nfs": {"server": "s", "path": "/"}})).contains("of this kind"));
    }
}

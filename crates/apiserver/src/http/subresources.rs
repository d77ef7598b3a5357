//! Parts of objects that are more than a field: scale, binding, eviction.

use api::codec;
use api::schema::Kind;
use api::status::Status;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::objects::{Answer, Call, Patch};
use super::options::WriteOptions;
use super::respond;
use crate::object::{meta_str, section};
use crate::registry::{DeleteOptions, Part, check_name};

/// The wanted Scale as a function of the workload.
type ScaleChange = Box<dyn Fn(&Value) -> Result<Value, Status> + Send + Sync>;

impl Call<'_> {
    /// `scale` of a workload: its replicas as autoscaling/v1 Scale.
    pub(crate) async fn scale(&self, name: &str) -> Answer {
        let schema = self.registry.schema;
        let scale_kind = schema
            .kind("autoscaling", "v1", "Scale")
            .ok_or_else(|| Status::internal("Scale is not in the schema"))?;
        let (change, options): (ScaleChange, _) = match self.parts.method {
            Method::GET => {
                let object = self.registry.get(self.kind, self.namespace(), name).await?;
                return Ok(respond::value(&scale_of(self.kind, &object)));
            }
            Method::PUT => {
                let options = WriteOptions::read("UpdateOptions", &self.query)?;
                let wanted = self.decode(scale_kind, options.validation)?.object;
                (Box::new(move |_| Ok(wanted.clone())), options)
            }
            Method::PATCH => {
                let options = WriteOptions::read("PatchOptions", &self.query)?;
                let patch = Patch::read(self.content_type(), &self.body)?;
                let kind = self.kind;
                let patched = move |object: &Value| {
                    let mut scale = scale_of(kind, object);
                    patch.apply(schema, scale_kind, &mut scale)?;
                    Ok(codec::conform(schema, scale_kind, scale, options.validation)?.object)
                };
                (Box::new(patched), options)
            }
            _ => return Err(Status::method_not_allowed()),
        };
        let dry_run = options.dry_run;
        let bytes = self
            .registry
            .change(self.kind, self.namespace(), name, Part::Main, dry_run, |object| {
                let scale = change(object)?;
                check_name(&scale, name, self.namespace())?;
                let mut new = object.clone();
                let version = meta_str(&scale, "resourceVersion");
                if !version.is_empty() && version != meta_str(object, "resourceVersion") {
                    return Err(Status::object_modified(self.kind, name));
                }
                let replicas = match &scale["spec"]["replicas"] {
                    Value::Null => json!(0),
                    replicas => replicas.clone(),
                };
                section(&mut new, "spec").insert("replicas".to_owned(), replicas);
                Ok(new)
            })
            .await?;
        let object: Value = serde_json::from_slice(&bytes).map_err(Status::internal)?;
        Ok(respond::value(&scale_of(self.kind, &object)))
    }

    /// `binding` of a pod: the scheduler's decision.
    pub(crate) async fn bind(&self, name: &str) -> Answer {
        let schema = self.registry.schema;
        let kind = schema
            .kind("", "v1", "Binding")
            .ok_or_else(|| Status::internal("Binding is not in the schema"))?;
        let options = WriteOptions::read("CreateOptions", &self.query)?;
        let binding = self.decode(kind, options.validation)?.object;
        let node = binding["target"]["name"].as_str().unwrap_or_default().to_owned();
        if node.is_empty() {
            return Err(Status::bad_request("target.name: Required value"));
        }
        self.registry.bind(self.kind, self.namespace(), name, &node, options.dry_run).await?;
        let mut done = Status::success(self.kind, name, "");
        done.code = StatusCode::CREATED.as_u16();
        Ok(respond::status(&done))
    }

    /// `eviction` of a pod: a deletion that may be refused by a budget; there are no budgets yet.
    pub(crate) async fn evict(&self, name: &str) -> Answer {
        let schema = self.registry.schema;
        let kind = schema
            .kind("policy", "v1", "Eviction")
            .ok_or_else(|| Status::internal("Eviction is not in the schema"))?;
        let asked = WriteOptions::read("CreateOptions", &self.query)?;
        let eviction = self.decode(kind, asked.validation)?.object;
        let mut options = DeleteOptions::from_value(&eviction["deleteOptions"])?;
        options.dry_run |= asked.dry_run;
        self.registry.delete(self.kind, self.namespace(), name, &options).await?;
        let mut done = Status::success(self.kind, name, "");
        done.code = StatusCode::CREATED.as_u16();
        Ok(respond::status(&done))
    }
}

/// The Scale of a workload.
fn scale_of(kind: &Kind, object: &Value) -> Value {
    let selector = &object["spec"]["selector"];
    let equal = selector.get("matchLabels").unwrap_or(selector);
    let mut terms: Vec<String> = equal
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != "matchExpressions")
        .filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?)))
        .collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values: Vec<&str> =
            expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        terms.push(match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({})", values.join(",")),
            Some("NotIn") => format!("{key} notin ({})", values.join(",")),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    let meta = |field: &str| object["metadata"][field].clone();
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": meta("name"), "namespace": meta("namespace"), "uid": meta("uid"),
            "resourceVersion": meta("resourceVersion"), "creationTimestamp": meta("creationTimestamp"),
        },
        "spec": { "replicas": object["spec"]["replicas"].as_i64().unwrap_or(i64::from(kind.scale)) },
        "status": {
            "replicas": object["status"]["replicas"].as_i64().unwrap_or(0), "selector": terms.join(","),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_names_the_selector_as_text() {
        let kind = api::schema::Schema::builtin().resource("apps", "v1", "deployments").unwrap();
        let deployment = json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"replicas": 4, "selector": {
                "matchLabels": {"app": "web"},
                "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}],
            }},
            "status": {"replicas": 3},
        });
        let scale = scale_of(kind, &deployment);
        assert_eq!(scale["status"], json!({"replicas": 3, "selector": "app=web,tier in (a,b)"}));
        assert_eq!(scale["spec"]["replicas"], 4);
    }
}

//! The operations of a document.

use serde_json::{Map, Value, json};

use super::{identity, root, schemas};
use crate::schema::{Kind, Schema};

const PATCHES: [&str; 3] =
    ["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"];
const BODIES: [&str; 3] = crate::codec::Media::NAMES;

/// One operation: HTTP method, the API's word for it, whether its answer is a list or the object.
type Operation = (&'static str, &'static str, Answer);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Object,
    List,
    Status,
}

const ON_LIST: [Operation; 3] = [
    ("get", "list", Answer::List),
    ("post", "post", Answer::Object),
    ("delete", "deletecollection", Answer::Status),
];
const ON_OBJECT: [Operation; 4] = [
    ("get", "get", Answer::Object),
    ("put", "put", Answer::Object),
    ("patch", "patch", Answer::Object),
    ("delete", "delete", Answer::Status),
];
const ON_SUBRESOURCE: [Operation; 3] =
    [("get", "get", Answer::Object), ("put", "put", Answer::Object), ("patch", "patch", Answer::Object)];

pub(super) fn paths(schema: &Schema, kinds: &[&Kind]) -> Map<String, Value> {
    let mut paths = Map::new();
    let mut add = |path: String, kind: &Kind, operations: &[Operation]| {
        let item = path_item(schema, &path, kind, operations);
        paths.insert(path, item);
    };
    for kind in kinds {
        let root = root(&kind.group, &kind.version);
        let namespace = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
        let list = format!("{root}{namespace}/{}", kind.plural);
        let object = format!("{list}/{{name}}");
        if !kind.stored {
            add(list, kind, &ON_LIST[1..2]);
            continue;
        }
        add(list, kind, &ON_LIST);
        if kind.namespaced {
            add(format!("{root}/{}", kind.plural), kind, &ON_LIST[..1]);
        }
        if kind.status {
            add(format!("{object}/status"), kind, &ON_SUBRESOURCE);
        }
        if let Some(scale) = schema.kind("autoscaling", "v1", "Scale").filter(|_| kind.scale) {
            add(format!("{object}/scale"), scale, &ON_SUBRESOURCE);
        }
        add(object, kind, &ON_OBJECT);
    }
    paths
}

/// The operations of one path, and its parameters by their name in the path.
fn path_item(schema: &Schema, path: &str, kind: &Kind, operations: &[Operation]) -> Value {
    let mut item = Map::new();
    for (method, action, answer) in operations {
        item.insert((*method).to_owned(), operation(schema, kind, method, action, *answer));
    }
    let parameter = |name: &str, description: &str| json!({"name": name, "in": "path", "required": true, "description": description, "schema": {"type": "string"}});
    let mut parameters = Vec::new();
    if path.contains("{namespace}") {
        parameters.push(parameter("namespace", "The namespace of the object."));
    }
    if path.contains("{name}") {
        parameters.push(parameter("name", "The name of the object."));
    }
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), Value::Array(parameters));
    }
    Value::Object(item)
}

fn operation(schema: &Schema, kind: &Kind, method: &str, action: &str, answer: Answer) -> Value {
    let object = schemas::reference(schema, kind.message);
    let answered = match answer {
        Answer::Object => object.clone(),
        Answer::List => schemas::list_reference(schema, kind),
        Answer::Status => schemas::status_reference(schema).unwrap_or_else(|| object.clone()),
    };
    let content = |types: &[&str], schema: &Value| -> Map<String, Value> {
        types.iter().map(|media| ((*media).to_owned(), json!({"schema": schema}))).collect()
    };
    let mut operation = json!({
        "responses": {"200": {"description": "OK", "content": content(&BODIES[..1], &answered)}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": identity(kind, &kind.kind),
    });
    let query = |name: &str, description: &str| json!({"name": name, "in": "query", "description": description, "schema": {"type": "string"}});
    match method {
        "post" | "put" | "patch" => {
            let types = if method == "patch" { &PATCHES[..] } else { &BODIES[..] };
            let body = if method == "patch" { json!({"type": "object"}) } else { object };
            operation["requestBody"] = json!({"required": true, "content": content(types, &body)});
            operation["parameters"] = json!([
                query("dryRun", "All: check, but store nothing."),
                query("fieldManager", "Who makes the change."),
                query(
                    "fieldValidation",
                    "What becomes of unknown and duplicate fields: Ignore, Warn or Strict."
                ),
            ]);
        }
        "get" if answer == Answer::List => {
            operation["parameters"] = json!([
                query("labelSelector", "Only objects with these labels."),
                query("fieldSelector", "Only objects with these field values."),
                query("watch", "Whether to go on with the changes."),
                query("resourceVersion", "Not older than this, or for a watch, after this."),
                query("limit", "At most so many objects."),
            ]);
        }
        _ => {}
    }
    operation
}

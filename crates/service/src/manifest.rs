//! Filling the model from text: what `kubectl get svc,endpointslices,nodes -A -o yaml` prints, or a person wrote.

mod endpoints;

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::objects::{
    EndpointSlice, ImportedSlice, Metadata, Namespace, Node, Object, Pod, PodNamedSlice, Service,
    ServiceCidr, ServiceImport,
};

/// The objects of some texts that decide where packets and names go, in the order in which they were read.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    /// Services.
    pub services: Vec<Service>,
    /// EndpointSlices, also those that stand for Endpoints.
    pub slices: Vec<EndpointSlice>,
    /// Nodes.
    pub nodes: Vec<Node>,
    /// Pods.
    pub pods: Vec<Pod>,
    /// Namespaces.
    pub namespaces: Vec<Namespace>,
    /// Services that several clusters have together (KEP-1645).
    pub imports: Vec<Service>,
    /// The slices of those.
    pub imported_slices: Vec<EndpointSlice>,
    /// Whether endpoints without a hostname are named after their pods.
    pub name_pods: bool,
    /// ServiceCIDRs.
    pub service_cidrs: Vec<ServiceCidr>,
    /// How many objects of other kinds there were.
    pub others: BTreeMap<String, usize>,
    /// The labels of objects that have any, by kind, namespace and name.
    labels: HashMap<Identity, Value>,
    /// Hand-made Endpoints, until it is known whether slices say the same.
    endpoints: Vec<Value>,
}

/// The kind of what EndpointSlices took the place of.
const ENDPOINTS: &str = "Endpoints";
/// The kinds whose objects are in a namespace.
const NAMESPACED: [&str; 5] = [Service::KIND, EndpointSlice::KIND, ServiceImport::KIND, Pod::KIND, ENDPOINTS];
/// The kinds whose objects may be selected by label.
const SELECTED: [&str; 4] = [Service::KIND, EndpointSlice::KIND, ServiceImport::KIND, Namespace::KIND];

/// Kind, namespace and name of an object.
type Identity = (String, String, String);

/// A text is no list of Kubernetes objects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("document {document}: {message}")]
pub struct InvalidManifest {
    /// Which document of the text, counted from 1.
    pub document: usize,
    /// What is wrong with it.
    pub message: String,
}

impl Objects {
    /// Takes in a text: YAML documents, a JSON value or several, each an object or a `List` of objects. Objects
    /// without a namespace are in `default`, as `kubectl apply` has it.
    ///
    /// # Errors
    /// [`InvalidManifest`] when a document is neither YAML nor JSON or has no kind. A wrong value inside an object
    /// is no error; see [`crate::objects::Problems`].
    pub fn read(&mut self, text: &str) -> Result<(), InvalidManifest> {
        for (index, document) in documents(text).enumerate() {
            let invalid = |message: String| InvalidManifest { document: index + 1, message };
            let value = document.map_err(invalid)?;
            if !value.is_null() {
                self.take(value).map_err(invalid)?;
            }
        }
        Ok(())
    }

    /// Ends the reading: Endpoints whose Service has no slices here become slices, as the cluster's controller
    /// would mirror them.
    pub fn finish(mut self) -> Self {
        for endpoints in std::mem::take(&mut self.endpoints) {
            let name = endpoints::service_name(&endpoints);
            let has_slices = self.slices.iter().any(|slice| slice.service_name() == Some(name.clone()));
            if !has_slices {
                let slices = endpoints::mirror(&endpoints);
                for slice in &slices {
                    let metadata = &slice.metadata;
                    self.label(EndpointSlice::KIND, (&metadata.namespace, &metadata.name), &endpoints);
                }
                self.slices.extend(slices);
            }
        }
        self
    }

    /// The labels of an object of this kind, if it has any. Which of the objects here count may depend on them, as it
    /// does when a watch selects by label.
    pub fn labels(&self, kind: &str, metadata: &Metadata) -> Option<&Value> {
        let identity = (kind.to_owned(), metadata.namespace.to_string(), metadata.name.to_string());
        self.labels.get(&identity)
    }

    /// Notes the labels that a value has as those of an object.
    fn label(&mut self, kind: &str, (namespace, name): (&str, &str), value: &Value) {
        if let Some(labels) = value.pointer("/metadata/labels").filter(|labels| labels.is_object()) {
            let identity = (kind.to_owned(), namespace.to_owned(), name.to_owned());
            self.labels.insert(identity, labels.clone());
        }
    }

    fn take(&mut self, mut value: Value) -> Result<(), String> {
        let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(Value::Array(items)) = value.get_mut("items").map(Value::take) {
            // Items of a typed list such as ServiceList need not repeat their kind.
            let of_list = kind.strip_suffix("List").filter(|kind| !kind.is_empty());
            for mut item in items {
                if let (Some(kind), Some(fields)) = (of_list, item.as_object_mut()) {
                    fields.entry("kind").or_insert_with(|| kind.into());
                }
                self.take(item)?;
            }
            return Ok(());
        }
        if NAMESPACED.contains(&kind.as_str()) {
            set_default_namespace(&mut value);
        }
        if SELECTED.contains(&kind.as_str()) {
            let text = |field: &str| value["metadata"][field].as_str().unwrap_or_default();
            self.label(&kind, (text("namespace"), text("name")), &value);
        }
        match kind.as_str() {
            Service::KIND => self.services.push(object(value)?),
            EndpointSlice::KIND => {
                let ImportedSlice(imported) = object(value.clone())?;
                if imported.service.is_some() {
                    self.imported_slices.push(imported);
                }
                self.slices.push(match self.name_pods {
                    true => object::<PodNamedSlice>(value)?.0,
                    false => object(value)?,
                });
            }
            ServiceImport::KIND => self.imports.push(object::<ServiceImport>(value)?.0),
            Pod::KIND => self.pods.push(object(value)?),
            Namespace::KIND => self.namespaces.push(object(value)?),
            Node::KIND => self.nodes.push(object(value)?),
            ServiceCidr::KIND => self.service_cidrs.push(object(value)?),
            ENDPOINTS => self.endpoints.push(value),
            "" => return Err("an object has no kind; is this a Kubernetes manifest?".to_owned()),
            _ => *self.others.entry(kind).or_default() += 1,
        }
        Ok(())
    }
}

fn object<T: Object>(value: Value) -> Result<T, String> {
    let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if name.is_empty() {
        return Err(format!("a {} has no metadata.name", T::KIND));
    }
    T::deserialize(value).map_err(|error| format!("{} {name}: {error}", T::KIND))
}

fn set_default_namespace(value: &mut Value) {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        let namespace = metadata.entry("namespace").or_insert(Value::Null);
        if namespace.as_str().unwrap_or_default().is_empty() {
            *namespace = "default".into();
        }
    }
}

/// The values of a text.
fn documents(text: &str) -> impl Iterator<Item = Result<Value, String>> + '_ {
    yaml_documents(text).flat_map(|document| match document.trim_start().starts_with(['{', '[']) {
        true => json_values(document).unwrap_or_else(|error| {
            // YAML may begin so, too.
            vec![yaml_value(document).map_err(|_| format!("no JSON: {error}"))]
        }),
        false => vec![yaml_value(document).map_err(|error| format!("no YAML: {error}"))],
    })
}

/// What begins as JSON does is read as JSON first, which is quicker for large clusters. Values may follow each other.
fn json_values(document: &str) -> Result<Vec<Result<Value, String>>, serde_json::Error> {
    serde_json::Deserializer::from_str(document).into_iter::<Value>().map(|value| value.map(Ok)).collect()
}

fn yaml_value(document: &str) -> Result<Value, serde_saphyr::Error> {
    // The text is the user's own, so its size is no attack.
    let options = serde_saphyr::options! { budget: None };
    serde_saphyr::from_str_with_options(document, options)
}

/// The documents of a YAML stream that hold anything: a line that begins with `---` starts the next (YAML 1.2,
/// section 9.1).
fn yaml_documents(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    let documents = std::iter::from_fn(move || {
        let text = rest?;
        let mut offset = 0;
        for line in text.split_inclusive('\n') {
            if line.strip_prefix("---").is_some_and(|after| {
                after.trim_start_matches([' ', '\t']) != after || after.trim().is_empty()
            }) {
                rest = Some(&text[offset + 3..]);
                return Some(&text[..offset]);
            }
            offset += line.len();
        }
        rest = None;
        Some(text)
    });
    let says_something = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    documents.filter(move |document| document.lines().any(says_something))
}

#[cfg(test)]
mod tests;

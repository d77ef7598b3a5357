//! Filling the model from text: what `kubectl get svc,endpointslices,nodes -A -o yaml` prints, or a person wrote.
//!
//! Objects are read one by one into their slim types, so that the memory needed is that of the slim objects and of one
//! object as it stands in the text:
//!
//! | text | how it is split | how an object is read |
//! |---|---|---|
//! | JSON | into pieces of the text, which are not copied | from its piece |
//! | YAML | by an event parser, which hands out the items of a list one after the other | from a JSON value |

mod document;
mod endpoints;
mod form;

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use self::form::Form;
use crate::ServiceName;
use crate::objects::{
    EndpointSlice, ImportedSlice, Metadata, Namespace, Node, Object, Pod, PodNamedSlice, Service,
    ServiceCidr, ServiceImport,
};

/// The objects of some texts that decide where packets and names go, in the order in which they were read.
///
/// ```
/// use service::manifest::Objects;
///
/// let mut objects = Objects::default();
/// objects.read("kind: Service\nmetadata: {name: web}\nspec: {clusterIP: 10.96.0.9, ports: [{port: 80}]}")?;
/// let objects = objects.finish();
/// assert_eq!(objects.services[0].name().to_string(), "default/web");
/// # Ok::<(), service::manifest::InvalidManifest>(())
/// ```
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
    /// ServiceCIDRs.
    pub service_cidrs: Vec<ServiceCidr>,
    /// How many objects of other kinds there were.
    pub others: BTreeMap<String, usize>,
    options: Options,
    /// The labels of objects that have any, by kind, namespace and name.
    labels: HashMap<Identity, Value>,
    /// Slices made of hand-made Endpoints, until it is known whether the Service has slices of its own.
    mirrored: Vec<(ServiceName, Vec<EndpointSlice>)>,
}

/// What is read of objects beside what a proxy needs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Whether endpoints without a hostname are named after their pods.
    pub pod_names: bool,
    /// Whether the labels of Services, EndpointSlices, ServiceImports and Namespaces are kept, for
    /// [`Objects::labels`].
    pub labels: bool,
}

/// The kind that EndpointSlices took the place of.
const ENDPOINTS: &str = "Endpoints";

/// Kind, namespace and name of an object.
type Identity = (&'static str, String, String);

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
    /// An empty collection that reads with these options.
    pub fn with(options: Options) -> Self {
        Self { options, ..Self::default() }
    }

    /// Takes in a text: YAML documents, a JSON value or several, each an object or a `List` of objects. Objects
    /// without a namespace are in `default`, as `kubectl apply` has it. A text with an error in it adds nothing.
    ///
    /// # Errors
    /// [`InvalidManifest`] when a document is neither YAML nor JSON or has no kind. A wrong value inside an object
    /// is no error; see [`crate::objects::Problems`].
    pub fn read(&mut self, text: &str) -> Result<(), InvalidManifest> {
        let mut read = Self::with(self.options);
        for (index, document) in document::split(text).enumerate() {
            let objects = document::read(document, self.options)
                .map_err(|message| InvalidManifest { document: index + 1, message })?;
            read.absorb(objects);
        }
        self.absorb(read);
        Ok(())
    }

    /// Ends the reading: Endpoints whose Service has no slices here become slices, as the cluster's controller
    /// would mirror them.
    pub fn finish(mut self) -> Self {
        let sliced: HashSet<ServiceName> =
            self.slices.iter().filter_map(EndpointSlice::service_name).collect();
        let mirrored = std::mem::take(&mut self.mirrored).into_iter();
        self.slices
            .extend(mirrored.filter(|(name, _)| !sliced.contains(name)).flat_map(|(_, slices)| slices));
        self
    }

    /// The labels of an object of this kind, if it has any and [`Options::labels`] keeps them. Which of the objects
    /// here count may depend on them, as it does when a watch selects by label.
    pub fn labels(&self, kind: &'static str, metadata: &Metadata) -> Option<&Value> {
        self.labels.get(&(kind, metadata.namespace.to_string(), metadata.name.to_string()))
    }

    /// Keeps the labels that the text gives an object.
    fn keep_labels(&mut self, kind: &'static str, metadata: &Metadata, text: &impl Form) {
        if let Some(labels) = self.options.labels.then(|| text.labels()).flatten() {
            self.labels.insert((kind, metadata.namespace.to_string(), metadata.name.to_string()), labels);
        }
    }

    /// Takes in what another collection has read.
    fn absorb(&mut self, other: Self) {
        self.services.extend(other.services);
        self.slices.extend(other.slices);
        self.nodes.extend(other.nodes);
        self.pods.extend(other.pods);
        self.namespaces.extend(other.namespaces);
        self.imports.extend(other.imports);
        self.imported_slices.extend(other.imported_slices);
        self.service_cidrs.extend(other.service_cidrs);
        self.labels.extend(other.labels);
        self.mirrored.extend(other.mirrored);
        for (kind, count) in other.others {
            *self.others.entry(kind).or_default() += count;
        }
    }

    /// Takes in an object, or the items of a list. Items of a typed list such as ServiceList need not repeat their
    /// kind, which is then `kind`.
    fn take(&mut self, text: impl Form, kind: Option<&str>) -> Result<(), String> {
        let head = text.head();
        let kind = head.kind.as_deref().or(kind).unwrap_or_default();
        if let Some(items) = head.items {
            let of_items = kind_of_items(kind);
            return items.into_iter().try_for_each(|item| self.take(item, of_items));
        }
        match kind {
            Service::KIND => {
                let mut service: Service = object(&text, &head.name)?;
                set_default_namespace(&mut service.metadata);
                self.keep_labels(Service::KIND, &service.metadata, &text);
                self.services.push(service);
            }
            EndpointSlice::KIND => self.take_slice(&text, &head.name)?,
            ServiceImport::KIND => {
                let ServiceImport(mut import) = object(&text, &head.name)?;
                set_default_namespace(&mut import.metadata);
                self.keep_labels(ServiceImport::KIND, &import.metadata, &text);
                self.imports.push(import);
            }
            Pod::KIND => {
                let mut pod: Pod = object(&text, &head.name)?;
                set_default_namespace(&mut pod.metadata);
                self.pods.push(pod);
            }
            Namespace::KIND => {
                let namespace: Namespace = object(&text, &head.name)?;
                self.keep_labels(Namespace::KIND, &namespace.metadata, &text);
                self.namespaces.push(namespace);
            }
            Node::KIND => self.nodes.push(object(&text, &head.name)?),
            ServiceCidr::KIND => self.service_cidrs.push(object(&text, &head.name)?),
            ENDPOINTS => self.take_endpoints(&text)?,
            "" => return Err("an object has no kind; is this a Kubernetes manifest?".to_owned()),
            _ => *self.others.entry(kind.to_owned()).or_default() += 1,
        }
        Ok(())
    }

    fn take_slice(&mut self, text: &impl Form, name: &str) -> Result<(), String> {
        let mut slice = match self.options.pod_names {
            true => object::<PodNamedSlice>(text, name)?.0,
            false => object::<EndpointSlice>(text, name)?,
        };
        set_default_namespace(&mut slice.metadata);
        self.keep_labels(EndpointSlice::KIND, &slice.metadata, text);
        if slice.imported {
            let ImportedSlice(mut imported) = object(text, name)?;
            set_default_namespace(&mut imported.metadata);
            self.imported_slices.push(imported);
        }
        self.slices.push(slice);
        Ok(())
    }

    fn take_endpoints(&mut self, text: &impl Form) -> Result<(), String> {
        let mut endpoints: Value = text.read().map_err(|error| format!("{ENDPOINTS}: {error}"))?;
        let namespace = &mut endpoints["metadata"]["namespace"];
        if namespace.as_str().unwrap_or_default().is_empty() {
            *namespace = DEFAULT_NAMESPACE.into();
        }
        let slices = endpoints::mirror(&endpoints);
        for slice in &slices {
            self.keep_labels(EndpointSlice::KIND, &slice.metadata, text);
        }
        self.mirrored.push((endpoints::service_name(&endpoints), slices));
        Ok(())
    }
}

/// The kind of the items of a typed list such as ServiceList. A `List` has items of any kind, which say it themselves.
fn kind_of_items(kind: &str) -> Option<&str> {
    kind.strip_suffix("List").filter(|kind| !kind.is_empty())
}

fn object<T: Object>(text: &impl Form, name: &str) -> Result<T, String> {
    if name.is_empty() {
        return Err(format!("a {} has no metadata.name", T::KIND));
    }
    text.read().map_err(|error| format!("{} {name}: {error}", T::KIND))
}

/// The namespace of namespaced objects that name none.
const DEFAULT_NAMESPACE: &str = "default";

fn set_default_namespace(metadata: &mut Metadata) {
    if metadata.namespace.is_empty() {
        metadata.namespace = DEFAULT_NAMESPACE.into();
    }
}

#[cfg(test)]
mod tests;

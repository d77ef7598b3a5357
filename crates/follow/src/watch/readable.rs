//! Objects in the forms that they are followed in, as the kube client lists and watches them.

use std::borrow::Cow;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

use kube::Resource;
use kube::api::ObjectMeta;
use kube::core::{ApiResource, DynamicResourceScope};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use service::objects::{Metadata, Object};

/// A form in which objects are read from the API.
pub(crate) trait Readable: Clone + Debug + Send + 'static {
    /// What is read.
    type Object: DeserializeOwned + Clone + Debug + Send;

    /// Name, namespace and resource version.
    fn place(object: &Self::Object) -> ObjectMeta;

    /// What stands for an object that cannot be read; `None` if it is left out.
    fn unreadable(_metadata: &Metadata, _why: &str) -> Option<Self::Object> {
        None
    }
}

/// The whole object.
#[derive(Clone, Debug)]
pub(crate) struct Whole<K>(PhantomData<K>);

impl<K: Resource + DeserializeOwned + Clone + Debug + Send + 'static> Readable for Whole<K> {
    type Object = K;

    fn place(object: &K) -> ObjectMeta {
        let metadata = object.meta();
        ObjectMeta {
            name: metadata.name.clone(),
            namespace: metadata.namespace.clone(),
            resource_version: metadata.resource_version.clone(),
            ..ObjectMeta::default()
        }
    }
}

/// The fields that the Service model needs.
#[derive(Clone, Debug)]
pub(crate) struct Slim<T>(PhantomData<T>);

impl<T: Object> Readable for Slim<T> {
    type Object = T;

    fn place(object: &T) -> ObjectMeta {
        place(object.metadata())
    }

    fn unreadable(metadata: &Metadata, why: &str) -> Option<T> {
        T::unreadable(metadata.clone(), why)
    }
}

/// An object with the metadata by which the kube client keeps its place in a watch.
///
/// `CAREFUL` says what happens to an object that cannot be read: it fails the list that it stands in, or
/// [`Readable::unreadable`] stands for it. The latter costs a copy of each object, so it is left until there is need.
#[derive(Debug, Clone)]
pub(crate) struct Watched<R: Readable, const CAREFUL: bool> {
    metadata: ObjectMeta,
    /// `None` for an object that cannot be read and is left out.
    pub(crate) object: Option<R::Object>,
}

impl<R: Readable, const CAREFUL: bool> Watched<R, CAREFUL> {
    fn read(object: R::Object) -> Self {
        Self { metadata: R::place(&object), object: Some(object) }
    }
}

impl<'de, R: Readable, const CAREFUL: bool> Deserialize<'de> for Watched<R, CAREFUL> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !CAREFUL {
            return R::Object::deserialize(deserializer).map(Self::read);
        }
        let value = Value::deserialize(deserializer)?;
        R::Object::deserialize(&value).map(Self::read).or_else(|error| {
            let metadata = metadata(&value).ok_or_else(|| D::Error::custom(&error))?;
            let why = error.to_string();
            let object = R::unreadable(&metadata, &why);
            if object.is_none() {
                let (namespace, name) = (&metadata.namespace, &metadata.name);
                tracing::warn!(%namespace, %name, why, "an object cannot be read and is left out");
            }
            Ok(Self { metadata: place(&metadata), object })
        })
    }
}

/// The metadata that the kube client needs.
fn place(metadata: &Metadata) -> ObjectMeta {
    ObjectMeta {
        name: Some(metadata.name.to_string()),
        namespace: Some(metadata.namespace.to_string()),
        resource_version: metadata.resource_version.as_deref().map(str::to_owned),
        ..ObjectMeta::default()
    }
}

/// What is known of an object that cannot be read; `None` if it has no name.
fn metadata(object: &Value) -> Option<Metadata> {
    let field = |name: &str| object["metadata"][name].as_str();
    Some(Metadata {
        namespace: field("namespace").unwrap_or_default().into(),
        name: field("name").map(Arc::from)?,
        uid: field("uid").map(Into::into),
        resource_version: field("resourceVersion").map(Into::into),
    })
}

impl<R: Readable, const CAREFUL: bool> Resource for Watched<R, CAREFUL> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(kind: &ApiResource) -> Cow<'_, str> {
        kind.kind.as_str().into()
    }

    fn group(kind: &ApiResource) -> Cow<'_, str> {
        kind.group.as_str().into()
    }

    fn version(kind: &ApiResource) -> Cow<'_, str> {
        kind.version.as_str().into()
    }

    fn plural(kind: &ApiResource) -> Cow<'_, str> {
        kind.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use service::objects::{EndpointSlice, Node, Service};

    use super::*;

    #[test]
    fn an_object_keeps_its_place_in_the_watch() {
        let json = r#"{"kind":"EndpointSlice","metadata":{"name":"a","namespace":"d","resourceVersion":"12"},
            "addressType":"IPv4","endpoints":[],"ports":[]}"#;
        let watched: Watched<Slim<EndpointSlice>, false> = serde_json::from_str(json).unwrap();
        assert_eq!(watched.meta().resource_version.as_deref(), Some("12"));
    }

    #[test]
    fn an_object_that_cannot_be_read_stands_for_itself_only() {
        let json = r#"[{"metadata":{"name":"bad","namespace":"d","uid":"u"},"spec":{"clusterIP":"10.96.0.9","ports":"http"}},
            {"metadata":{"name":"good","namespace":"d"},"spec":{"clusterIP":"10.96.0.8"}}]"#;
        assert!(serde_json::from_str::<Vec<Watched<Slim<Service>, false>>>(json).is_err());
        let watched: Vec<Watched<Slim<Service>, true>> = serde_json::from_str(json).unwrap();
        let [bad, good] = [0, 1].map(|index| watched[index].object.as_ref().unwrap());
        assert_eq!(
            (&*bad.metadata.name, bad.metadata.uid.as_deref(), bad.proxied()),
            ("bad", Some("u"), false)
        );
        assert!(bad.problems.iter().next().unwrap().contains("expected a sequence"), "{:?}", bad.problems);
        assert!(good.proxied());
        let bad = r#"{"metadata":{"name":"bad"},"spec":"none"}"#;
        assert!(serde_json::from_str::<Watched<Slim<Node>, true>>(bad).unwrap().object.is_none());
    }

    #[test]
    fn a_whole_object_that_cannot_be_read_is_left_out() {
        let json =
            r#"[{"metadata":{"name":"bad"},"data":[1]},{"metadata":{"name":"good"},"data":{"a":"b"}}]"#;
        let watched: Vec<Watched<Whole<ConfigMap>, true>> = serde_json::from_str(json).unwrap();
        let names: Vec<_> = watched.iter().map(|watched| watched.meta().name.as_deref().unwrap()).collect();
        let read: Vec<_> = watched.iter().map(|watched| watched.object.is_some()).collect();
        assert_eq!((names, read), (vec!["bad", "good"], vec![false, true]));
    }
}

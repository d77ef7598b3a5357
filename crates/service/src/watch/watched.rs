//! Slim objects as the kube client lists and watches them.

use std::borrow::Cow;
use std::sync::Arc;

use kube::Resource;
use kube::api::ObjectMeta;
use kube::core::ClusterResourceScope;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::objects::{Metadata, Object};

/// A slim object with the metadata that the kube client keeps its place in a watch by.
///
/// `CAREFUL` says what is done with an object that cannot be read: fail, and with it the list that it stands in, or
/// let [`Object::unreadable`] stand for it. That costs a copy of each object, so it is left until there is need.
#[derive(Debug, Clone)]
pub(super) struct Watched<T, const CAREFUL: bool> {
    metadata: ObjectMeta,
    /// `None` for an object that cannot be read and that nothing stands for.
    pub(super) object: Option<T>,
}

impl<'de, T: Object, const CAREFUL: bool> Deserialize<'de> for Watched<T, CAREFUL> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !CAREFUL {
            return T::deserialize(deserializer).map(Self::from);
        }
        let value = Value::deserialize(deserializer)?;
        T::deserialize(&value).map(Self::from).or_else(|error| {
            let metadata = metadata(&value).ok_or_else(|| D::Error::custom(&error))?;
            let why = error.to_string();
            let object = T::unreadable(metadata.clone(), &why);
            if object.is_none() {
                let (kind, name) = (T::KIND, &metadata.name);
                tracing::warn!(kind, %name, why, "an object cannot be read and is left out");
            }
            Ok(Self { metadata: kept(&metadata), object })
        })
    }
}

impl<T: Object, const CAREFUL: bool> From<T> for Watched<T, CAREFUL> {
    fn from(object: T) -> Self {
        Self { metadata: kept(object.metadata()), object: Some(object) }
    }
}

/// What the kube client needs.
fn kept(metadata: &Metadata) -> ObjectMeta {
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

impl<T: Object, const CAREFUL: bool> Resource for Watched<T, CAREFUL> {
    type DynamicType = ();
    // Only ever listed across namespaces.
    type Scope = ClusterResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        T::KIND.into()
    }

    fn group((): &()) -> Cow<'_, str> {
        T::GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        T::VERSION.into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        T::PLURAL.into()
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
    use super::*;
    use crate::objects::{EndpointSlice, Node, Service};

    #[test]
    fn an_object_keeps_its_place_in_the_watch() {
        let json = r#"{"kind":"EndpointSlice","metadata":{"name":"a","namespace":"d","resourceVersion":"12"},
            "addressType":"IPv4","endpoints":[],"ports":[]}"#;
        let watched: Watched<EndpointSlice, false> = serde_json::from_str(json).unwrap();
        assert_eq!(watched.meta().resource_version.as_deref(), Some("12"));
        let path = Watched::<EndpointSlice, false>::url_path(&(), None);
        assert_eq!(path, "/apis/discovery.k8s.io/v1/endpointslices");
    }

    #[test]
    fn an_object_that_cannot_be_read_stands_for_itself_only() {
        let json = r#"[{"metadata":{"name":"bad","namespace":"d","uid":"u"},"spec":{"clusterIP":"10.96.0.9","ports":"http"}},
            {"metadata":{"name":"good","namespace":"d"},"spec":{"clusterIP":"10.96.0.8"}}]"#;
        assert!(serde_json::from_str::<Vec<Watched<Service, false>>>(json).is_err());
        let watched: Vec<Watched<Service, true>> = serde_json::from_str(json).unwrap();
        let [bad, good] = [0, 1].map(|index| watched[index].object.as_ref().unwrap());
        assert_eq!(
            (&*bad.metadata.name, bad.metadata.uid.as_deref(), bad.proxied()),
            ("bad", Some("u"), false)
        );
        assert!(bad.problems.iter().next().unwrap().contains("expected a sequence"), "{:?}", bad.problems);
        assert!(good.proxied());
        let bad = r#"{"metadata":{"name":"bad"},"spec":"none"}"#;
        assert!(serde_json::from_str::<Watched<Node, true>>(bad).unwrap().object.is_none());
    }
}

//! Lists and watches that recover by themselves.

mod follower;
mod readable;

use std::fmt::Debug;

use futures::Stream;
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use service::objects::Object;

use crate::{Event, Selection};
use readable::{Slim, Whole};

/// Lists and watches whole objects of a kind, for ever.
///
/// A watch that was lost continues where it was, or lists again; failures are logged here, since nobody else can do
/// anything about them. An object that cannot be read is logged and left out.
pub fn objects<K>(client: Client, selection: Selection) -> impl Stream<Item = Event<K>> + Send
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + 'static,
{
    follower::follow::<Whole<K>>(client, ApiResource::erase::<K>(&()), selection)
}

/// Like [`objects`], for the metadata of a kind that is known at run time only.
pub fn metadata(
    client: Client,
    kind: ApiResource,
    selection: Selection,
) -> impl Stream<Item = Event<PartialObjectMeta<DynamicObject>>> + Send {
    follower::follow::<Whole<PartialObjectMeta<DynamicObject>>>(client, kind, selection)
}

/// Like [`objects`], for the slim form of a kind. An object that cannot be read comes as its [`Object::unreadable`], or is
/// left out if the kind has no such form.
pub fn slim_objects<T: Object>(
    client: Client,
    selection: Selection,
) -> impl Stream<Item = Event<T>> + Send + use<T> {
    let kind = ApiResource {
        group: T::GROUP.to_owned(),
        version: T::VERSION.to_owned(),
        api_version: api_version::<T>(),
        kind: T::KIND.to_owned(),
        plural: T::PLURAL.to_owned(),
    };
    follower::follow::<Slim<T>>(client, kind, selection)
}

/// `apiVersion` of a slim kind.
pub(crate) fn api_version<T: Object>() -> String {
    if T::GROUP.is_empty() { T::VERSION.to_owned() } else { format!("{}/{}", T::GROUP, T::VERSION) }
}

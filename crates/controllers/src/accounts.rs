//! What every namespace is given: the ServiceAccount `default` and the cluster's root certificate.

use std::collections::HashSet;

use follow::{Event, Listing, Selection};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::core::ApiResource;
use kube::{Api, Client, ResourceExt};

use crate::runtime::cache::Key;
use crate::runtime::context::{Context, is_taken, namespace_goes};

/// The ConfigMap with the certificate that pods trust the API server by.
const ROOT_CA: &str = "kube-root-ca.crt";

/// Makes what one namespace lacks.
pub(crate) async fn reconcile(context: &Context, root_ca: Option<&str>, key: Key) -> kube::Result<()> {
    let Some(namespace) = context.cache::<Namespace>().get(&key) else { return Ok(()) };
    if namespace.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let metadata = |name: &str| ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(key.name.clone()),
        ..ObjectMeta::default()
    };
    if context.cache::<ServiceAccount>().get(&Key::new(&key.name, "default")).is_none() {
        let account = ServiceAccount { metadata: metadata("default"), ..ServiceAccount::default() };
        unless_there(context.create(&account).await.map(drop))?;
    }
    if let Some(certificate) = root_ca {
        let map = ConfigMap {
            metadata: metadata(ROOT_CA),
            data: Some([("ca.crt".to_owned(), certificate.to_owned())].into()),
            ..ConfigMap::default()
        };
        let maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), &key.name);
        match maps.create(&PostParams::default(), &map).await.map(drop) {
            Err(error) if is_taken(&error) => mend(&maps, map).await?,
            made => unless_there(made)?,
        }
    }
    Ok(())
}

/// Brings a ConfigMap that somebody has changed back to what it should be.
async fn mend(maps: &Api<ConfigMap>, wanted: ConfigMap) -> kube::Result<()> {
    let Some(mut found) = maps.get_opt(ROOT_CA).await? else { return Ok(()) };
    if found.data == wanted.data && found.binary_data.is_none() {
        return Ok(());
    }
    (found.data, found.binary_data) = (wanted.data, None);
    maps.replace(ROOT_CA, &PostParams::default(), &found).await.map(drop)
}

/// Tells the namespaces whose ConfigMap was changed or deleted, until its future is dropped. The ConfigMaps of the first
/// list are not told: every namespace is looked at when it is seen itself.
pub(crate) async fn follow(client: &Client, concerned: impl Fn(&str)) {
    let kind = ApiResource::erase::<ConfigMap>(&());
    let events = follow::metadata(client.clone(), kind, Selection::named(ROOT_CA));
    let mut events = std::pin::pin!(events);
    let (mut known, mut listing) = (HashSet::new(), Listing::default());
    while let Some(event) = events.next().await {
        match event {
            Event::Relist => listing.start(known.iter().cloned()),
            Event::Apply(map) => {
                let namespace = map.namespace().unwrap_or_default();
                if listing.complete() {
                    concerned(&namespace);
                }
                listing.seen(&namespace);
                known.insert(namespace);
            }
            Event::Delete(map) => {
                let namespace = map.namespace().unwrap_or_default();
                known.remove(&namespace);
                concerned(&namespace);
            }
            Event::Synced => {
                for namespace in listing.finish() {
                    known.remove(&namespace);
                    concerned(&namespace);
                }
            }
        }
    }
}

fn unless_there(result: kube::Result<()>) -> kube::Result<()> {
    match result {
        Err(error) if is_taken(&error) || namespace_goes(&error) => Ok(()),
        result => result,
    }
}

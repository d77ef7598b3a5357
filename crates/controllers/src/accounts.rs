//! What every namespace is given: the ServiceAccount `default` and the cluster's root certificate.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;

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
        unless_there(maps.create(&PostParams::default(), &map).await.map(drop))?;
    }
    Ok(())
}

fn unless_there(result: kube::Result<()>) -> kube::Result<()> {
    match result {
        Err(error) if is_taken(&error) || namespace_goes(&error) => Ok(()),
        result => result,
    }
}

//! An API server: how to reach it, and what it holds.

use std::path::Path;

use anyhow::Context;
use kube::Client;
use kube::api::{ListParams, Request};
use proxy::configuration::Configuration;
use service::manifest::Objects;

use crate::commands::parts;

/// The lists that decide where packets go. ServiceCIDRs are not there before Kubernetes 1.33.
const LISTS: [(&str, bool); 5] = [
    ("/api/v1/services", true),
    ("/apis/discovery.k8s.io/v1/endpointslices", true),
    ("/api/v1/nodes", true),
    ("/api/v1/pods", true),
    ("/apis/networking.k8s.io/v1/servicecidrs", false),
];

/// A client for the API server of the kubeconfig, or of the pod that this runs in.
pub(crate) async fn client(configuration: &Configuration) -> anyhow::Result<Client> {
    match configuration.kubeconfig().or_else(|| std::env::var("KUBECONFIG").ok()) {
        Some(file) => parts::client(Path::new(&file)).await,
        None => {
            let config = kube::Config::incluster().context(
                "no API server is known: name a kubeconfig with --kubeconfig or in the configuration file",
            )?;
            Ok(Client::try_from(config)?)
        }
    }
}

/// What the API server holds now.
pub(crate) async fn objects(client: &Client) -> anyhow::Result<Objects> {
    let mut objects = Objects::default();
    for (path, required) in LISTS {
        let request = Request::new(path).list(&ListParams::default())?;
        match client.request_text(request).await {
            Ok(text) => objects.read(&text).with_context(|| format!("the answer to {path}"))?,
            Err(kube::Error::Api(_)) if !required => {}
            Err(error) => return Err(error).with_context(|| format!("{path} cannot be listed")),
        }
    }
    Ok(objects.finish())
}

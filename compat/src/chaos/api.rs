//! Questions to the API server.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use http::Request;
use http_body_util::BodyExt;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use tokio::time::timeout;

/// How long an answer may take before it counts as none.
const PATIENCE: Duration = Duration::from_secs(15);

/// A client of the API server.
#[derive(Clone)]
pub(crate) struct Api {
    client: Client,
}

/// An answer: the code, and what was said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// Whether it says that what was asked for was done.
    pub(crate) fn is_good(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// What a Status says.
    pub(crate) fn message(&self) -> &str {
        self.body["message"].as_str().or(self.body.as_str()).unwrap_or_default()
    }
}

impl Api {
    /// A client with connections of its own.
    pub(crate) async fn new(kubeconfig: &Path) -> anyhow::Result<Self> {
        Ok(Self { client: Client::try_from(config(kubeconfig).await?)? })
    }

    /// Asks and reads the whole answer.
    ///
    /// # Errors
    /// There was no answer, so that nobody knows whether it was done.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let media =
            if method == "PATCH" { "application/strategic-merge-patch+json" } else { "application/json" };
        let request = Request::builder().method(method).uri(path).header("content-type", media);
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = request.body(Body::from(bytes))?;
        let whole = async {
            let response = self.client.send(request).await?;
            let code = response.status().as_u16();
            let bytes = response.into_body().collect().await?.to_bytes();
            let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
            anyhow::Ok(Answer { code, body: serde_json::from_slice(&bytes).unwrap_or_else(|_| text()) })
        };
        timeout(PATIENCE, whole).await.context("there is no answer")?
    }

    /// Asks for something that goes on; its body is read piece by piece.
    pub(crate) async fn follow(&self, path: &str) -> anyhow::Result<http::Response<Body>> {
        let request = Request::get(path).body(Body::empty())?;
        Ok(timeout(PATIENCE, self.client.send(request)).await.context("there is no answer")??)
    }
}

/// The administrator of a kubeconfig.
pub(crate) async fn config(kubeconfig: &Path) -> anyhow::Result<Config> {
    let read = Kubeconfig::read_from(kubeconfig).context("the kubeconfig cannot be read")?;
    Ok(Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?)
}

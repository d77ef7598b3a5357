//! `portolan status`: how a cluster is, and what is wrong with it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::{Endpoints, Node};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, ResourceExt};

use super::list::{state, table};
use super::parts::run;
use crate::cluster::Which;
use crate::cluster::record::Record;

/// The API server has this long to answer each question.
const PATIENCE: Duration = Duration::from_secs(5);

/// Prints how the cluster is; fails if anything is wrong.
pub(crate) fn main(options: &Which) -> anyhow::Result<()> {
    let name = &options.name;
    let Some(record) = Record::find(name, options.data_dir.as_deref())? else {
        bail!(
            "there is no cluster {name}; portolan list shows those that are, portolan up --name {name} starts it"
        );
    };
    let kubeconfig = record.kubeconfig.clone().unwrap_or_else(|| record.data_dir.join("kubeconfig"));
    println!("cluster      {name}, {}", state(&record));
    println!("program      portolan {}", env!("CARGO_PKG_VERSION"));
    println!("data         {}", record.data_dir.display());
    println!("kubeconfig   {}", kubeconfig.display());
    if !record.is_running() {
        bail!(
            "cluster {name} is stopped; its pods may go on running. portolan up --name {name} continues it, portolan \
             down --name {name} removes it"
        );
    }
    println!("process      {}", record.pid);
    let wrong = run(async { look(&kubeconfig, name).await })?;
    if wrong.is_empty() {
        println!("\nall is well");
        return Ok(());
    }
    let list: Vec<String> = wrong.iter().map(|wrong| format!("\n  {wrong}")).collect();
    bail!("something is wrong with cluster {name}:{}", list.concat())
}

/// Asks the API server and prints what it says; returns what is wrong.
async fn look(kubeconfig: &Path, context: &str) -> anyhow::Result<Vec<String>> {
    let client = client(kubeconfig, context).await?;
    let mut wrong = Vec::new();
    let Ok(version) = tokio::time::timeout(PATIENCE, client.apiserver_version()).await else {
        return Ok(vec![format!("the API server does not answer within {} s", PATIENCE.as_secs())]);
    };
    let version = match version {
        Ok(version) => version.git_version,
        Err(error) => return Ok(vec![format!("the API server does not answer: {error}")]),
    };
    println!("API          {version}");
    let checks = readiness(&client).await?;
    println!("parts        {}", checks.ok.join(", "));
    wrong.extend(checks.failed);
    let endpoints: Api<Endpoints> = Api::namespaced(client.clone(), "kube-system");
    let dns = endpoints.get_opt("kube-dns").await?.and_then(|dns| dns.subsets).unwrap_or_default();
    let servers = dns.iter().flat_map(|subset| subset.addresses.iter().flatten()).count();
    println!("DNS          {servers} servers");
    if servers == 0 {
        wrong.push("no server stands behind the Service kube-dns".to_owned());
    }
    let nodes = Api::<Node>::all(client).list(&Default::default()).await?.items;
    println!();
    print!("{}", table(["NODE", "STATE", "ADDRESS", "VERSION", "RUNTIME"], nodes.iter().map(row)));
    if nodes.is_empty() {
        wrong.push("there is no node".to_owned());
    }
    wrong.extend(nodes.iter().filter_map(|node| {
        let why = not_ready(node)?;
        Some(format!("node {} is not ready: {why}", node.name_any()))
    }));
    Ok(wrong)
}

async fn client(kubeconfig: &Path, context: &str) -> anyhow::Result<Client> {
    let file = || format!("the kubeconfig {} cannot be used", kubeconfig.display());
    let config = Kubeconfig::read_from(kubeconfig).with_context(file)?;
    // A file of the user's may have another current context.
    let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    let config = kube::Config::from_custom_kubeconfig(config, &options).await.with_context(file)?;
    Ok(Client::try_from(config)?)
}

/// What `/readyz` lists.
#[derive(Debug, Default, PartialEq, Eq)]
struct Checks {
    ok: Vec<String>,
    failed: Vec<String>,
}

async fn readiness(client: &Client) -> anyhow::Result<Checks> {
    let request = http::Request::get("/readyz?verbose").body(kube::client::Body::empty())?;
    let response =
        tokio::time::timeout(PATIENCE, client.send(request)).await.context("/readyz does not answer")??;
    let body = http_body_util::BodyExt::collect(response.into_body()).await?.to_bytes();
    Ok(parse(&String::from_utf8_lossy(&body)))
}

/// Reads the lines `[+]name ok` and `[-]name failed: why`.
fn parse(text: &str) -> Checks {
    let mut checks = Checks::default();
    for line in text.lines() {
        if let Some(check) = line.strip_prefix("[+]") {
            checks.ok.push(check.trim_end_matches(" ok").to_owned());
        } else if let Some(check) = line.strip_prefix("[-]") {
            checks.failed.push(check.to_owned());
        }
    }
    checks
}

fn row(node: &Node) -> [String; 5] {
    let status = node.status.as_ref();
    let info = status.and_then(|status| status.node_info.as_ref());
    let addresses = status.and_then(|status| status.addresses.as_ref());
    let address = addresses.and_then(|list| list.iter().find(|address| address.type_ == "InternalIP"));
    [
        node.name_any(),
        if not_ready(node).is_none() { "Ready" } else { "NotReady" }.to_owned(),
        address.map(|address| address.address.clone()).unwrap_or_default(),
        info.map(|info| info.kubelet_version.clone()).unwrap_or_default(),
        info.map(|info| info.container_runtime_version.clone()).unwrap_or_default(),
    ]
}

/// Why a node is not ready; none if it is.
fn not_ready(node: &Node) -> Option<String> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    match conditions.and_then(|list| list.iter().find(|condition| condition.type_ == "Ready")) {
        Some(ready) if ready.status == "True" => None,
        Some(ready) => Some(ready.message.clone().unwrap_or_else(|| "it does not say why".to_owned())),
        None => Some("its agent has not reported yet".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_is_read_line_by_line() {
        let text = "[+]ping ok\n[-]store failed: the disk is full\nreadyz check failed\n";
        let checks =
            Checks { ok: vec!["ping".into()], failed: vec!["store failed: the disk is full".into()] };
        assert_eq!(parse(text), checks);
    }

    #[test]
    fn a_node_that_has_said_nothing_is_not_ready() {
        assert_eq!(not_ready(&Node::default()).as_deref(), Some("its agent has not reported yet"));
    }
}

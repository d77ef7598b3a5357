//! What becomes of another configuration, with a mode that writes nothing.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use service::Event;

use super::super::inputs::Input;
use super::super::observers::Observers;
use super::*;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::mode::{Counted, Mode, Report, Touched};
use crate::sight::Sight;

/// A mode that notes what it is asked to load, and cannot masquerade all.
struct Notebook(Arc<Mutex<Vec<String>>>);

impl Mode for Notebook {
    fn sync(&mut self, sight: &Sight<'_>, touched: &Touched<'_>) -> Result<Report, Error> {
        let all = matches!(touched, Touched::Everything);
        let node = sight.node.primary(service::Family::V4);
        self.0.lock().unwrap().push(format!("everything {all}, node {node:?}"));
        match sight.config.masquerade_all {
            true => Err(Error::Mode("this cannot be done".to_owned())),
            false => Ok(Report::default()),
        }
    }
}

/// A proxy that has loaded its first rules, and what its mode was asked for since.
async fn started(config: &Config, duties: &Duties) -> (Proxy, Arc<Mutex<Vec<String>>>) {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let health = Arc::new(Health::new(duties.sync_period));
    let metrics = Arc::new(Metrics::new().unwrap());
    let observers = Observers::start(duties, config.mode, health.clone(), metrics.clone()).await.unwrap();
    // Nobody listens there; Events to it are lost.
    let api = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
    let reporter = Reporter::start(kube::Client::try_from(api).unwrap(), &config.node_name);
    let mode = Box::new(Notebook(notes.clone()));
    let mut proxy = Proxy::new(config.clone(), mode, health, metrics, reporter, observers);
    let listed = [Input::Service(Event::Synced), Input::Slice(Event::Synced), Input::Node(Event::Synced)];
    proxy.take(listed.into()).await.unwrap();
    assert!(proxy.started);
    notes.lock().unwrap().clear();
    (proxy, notes)
}

fn outcomes(proxy: &Proxy) -> Vec<String> {
    let text = proxy.metrics.print(ModeName::Nftables, &Counted::default());
    let lines = text.lines().filter(|line| line.starts_with("portolan_proxy_configuration_changes_total{"));
    lines.map(|line| line.rsplit('{').next().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn a_mode_that_stays_looks_at_everything_again_with_the_new_settings() {
    let config = Config::new("node", Vec::new());
    let (mut proxy, notes) = started(&config, &Duties::none()).await;
    let address = "192.0.2.1".parse().ok();
    proxy.revise(Config { node_address: address, ..config }, &Duties::none()).await;
    assert_eq!(*notes.lock().unwrap(), ["everything true, node Some(192.0.2.1)"]);
    assert_eq!(outcomes(&proxy), ["outcome=\"applied\"} 1", "outcome=\"refused\"} 0"]);
}

#[tokio::test]
async fn what_does_not_concern_rules_loads_none() {
    let config = Config::new("node", Vec::new());
    let (mut proxy, notes) = started(&config, &Duties::none()).await;
    let duties = Duties { sync_period: Duration::ZERO, ..Duties::none() };
    proxy.revise(config, &duties).await;
    assert!(notes.lock().unwrap().is_empty());
    proxy.health.waits();
    assert!(!proxy.health.healthy(), "the new period counts");
}

#[tokio::test]
async fn a_configuration_whose_rules_cannot_be_loaded_leaves_the_one_before() {
    let config = Config::new("node", Vec::new());
    let (mut proxy, notes) = started(&config, &Duties::none()).await;
    proxy.revise(Config { masquerade_all: true, ..config.clone() }, &Duties::none()).await;
    assert_eq!((&proxy.config, proxy.behind), (&config, false));
    assert_eq!(notes.lock().unwrap().len(), 2, "the rules before are loaded again");
    assert_eq!(outcomes(&proxy), ["outcome=\"applied\"} 0", "outcome=\"refused\"} 1"]);
}

#[tokio::test]
async fn changes_that_come_within_the_least_period_share_the_next_load() {
    let config = Config { min_sync_period: Duration::from_secs(60), ..Config::new("node", Vec::new()) };
    let (mut proxy, notes) = started(&config, &Duties::none()).await;
    proxy.all = true;
    proxy.take(Vec::new()).await.unwrap();
    assert!(notes.lock().unwrap().is_empty() && proxy.pause().is_some_and(|pause| !pause.is_zero()));
    proxy.sync(Instant::now()).await.unwrap();
    assert_eq!((notes.lock().unwrap().len(), proxy.pause()), (1, None));
}

#[tokio::test]
async fn a_server_moves_when_its_address_changes_and_shows_the_new_configuration() {
    let free = |_| std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let [first, second] = [(), ()].map(free);
    let duties =
        |address, configz: &str| Duties { metrics: Some(address), configz: configz.into(), ..Duties::none() };
    let config = Config::new("node", Vec::new());
    let (mut proxy, _) = started(&config, &duties(first, "one")).await;
    assert!(get(first).await.unwrap().ends_with("\"one\"}"));
    proxy.revise(config.clone(), &duties(first, "two")).await;
    assert!(get(first).await.unwrap().ends_with("\"two\"}"));
    proxy.revise(config, &duties(second, "three")).await;
    assert!(get(first).await.is_err());
    assert!(get(second).await.unwrap().ends_with("\"three\"}"));
}

/// What `/configz` answers.
async fn get(address: std::net::SocketAddr) -> std::io::Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(b"GET /configz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

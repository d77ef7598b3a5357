//! An etcd of the bench's own, and as much of its gRPC interface as the comparison needs.

mod messages;

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::{Stream, StreamExt};
use http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{IntoStreamingRequest, Request};
use tonic_prost::ProstCodec;

use crate::process::{Process, free_port};
use messages::{
    Compare, CompareTarget, PutRequest, RequestOp, RequestUnion, TxnRequest, TxnResponse, WatchCreateRequest,
    WatchRequest, WatchResponse,
};

const START_TIMEOUT: Duration = Duration::from_secs(20);
const START_STEP: Duration = Duration::from_millis(50);
const TXN: &str = "/etcdserverpb.KV/Txn";
const WATCH: &str = "/etcdserverpb.Watch/Watch";

/// A running etcd with an empty data directory.
#[derive(Debug)]
pub(crate) struct Etcd {
    endpoint: String,
    _process: Process,
}

impl Etcd {
    /// Starts one with its own settings for durability: each acknowledged write has been synced.
    pub(crate) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let (client, peer) = (free_port()?, free_port()?);
        let endpoint = format!("http://127.0.0.1:{client}");
        let peers = format!("http://127.0.0.1:{peer}");
        let log = File::create(folder.join("etcd.log"))?;
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(folder.join("etcd"));
        command.args(["--listen-client-urls", &endpoint, "--advertise-client-urls", &endpoint]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &format!("default={peers}")]);
        command.args(["--quota-backend-bytes", &(8_u64 << 30).to_string()]);
        command.stdout(log.try_clone()?).stderr(log);
        let process =
            Process::start(&mut command).context("is etcd installed (apt-get install etcd-server)?")?;
        let etcd = Self { endpoint, _process: process };
        let begin = Instant::now();
        while let Err(error) = etcd.create(&etcd.connect().await, "/started".to_owned(), Vec::new()).await {
            if begin.elapsed() > START_TIMEOUT {
                bail!("etcd does not answer: {error:#}");
            }
            tokio::time::sleep(START_STEP).await;
        }
        Ok(etcd)
    }

    /// A connection of its own, made at its first use.
    pub(crate) async fn connect(&self) -> Channel {
        let endpoint = Endpoint::from_shared(self.endpoint.clone());
        endpoint
            .map_or_else(|_| Endpoint::from_static("http://127.0.0.1:0"), |e| e.tcp_nodelay(true))
            .connect_lazy()
    }

    /// Creates a key as a Kubernetes API server does: in a transaction that checks that it is absent.
    pub(crate) async fn create(&self, channel: &Channel, key: String, value: Vec<u8>) -> anyhow::Result<()> {
        let request = TxnRequest {
            compare: vec![Compare {
                result: 0,
                target: CompareTarget::Create.into(),
                key: key.clone().into_bytes(),
                create_revision: Some(0),
            }],
            success: vec![RequestOp {
                request: Some(RequestUnion::Put(PutRequest { key: key.into_bytes(), value })),
            }],
        };
        let mut grpc = tonic::client::Grpc::new(channel.clone());
        grpc.ready().await?;
        let codec = ProstCodec::<TxnRequest, TxnResponse>::default();
        let answer = grpc.unary(Request::new(request), PathAndQuery::from_static(TXN), codec).await?;
        anyhow::ensure!(answer.get_ref().succeeded, "the key is there already");
        Ok(())
    }

    /// The keys that are written below `prefix` from now on, in groups as they come.
    pub(crate) async fn watch(
        &self,
        prefix: &str,
    ) -> anyhow::Result<impl Stream<Item = Vec<String>> + use<>> {
        let mut end = prefix.as_bytes().to_vec();
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        let create = WatchCreateRequest { key: prefix.as_bytes().to_vec(), range_end: end };
        let requests =
            futures::stream::iter([WatchRequest { create: Some(create) }]).chain(futures::stream::pending());
        let mut grpc = tonic::client::Grpc::new(self.connect().await);
        grpc.ready().await?;
        let codec = ProstCodec::<WatchRequest, WatchResponse>::default();
        let path = PathAndQuery::from_static(WATCH);
        let mut answers = grpc.streaming(requests.into_streaming_request(), path, codec).await?.into_inner();
        answers.message().await?.filter(|first| first.created).context("etcd does not watch")?;
        let answers = answers.take_while(|answer| std::future::ready(answer.is_ok()));
        Ok(answers.filter_map(|answer| async {
            let events = answer.ok()?.events.into_iter();
            Some(events.filter_map(|event| String::from_utf8(event.kv?.key).ok()).collect())
        }))
    }
}

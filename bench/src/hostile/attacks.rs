//! What a hostile client does.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::wire::{Body, Wire, send, whole};

const MAPS: &str = "/api/v1/namespaces/hostile/configmaps";
const SERVICES: &str = "/api/v1/namespaces/hostile/services";
/// So many objects of 1 KiB make a list of more than 10 MB.
const OBJECTS: usize = 10_000;
/// How long things are held.
const HOLD: Duration = Duration::from_secs(8);
/// An attack ends after this time whatever the server does.
const PATIENCE: Duration = Duration::from_secs(120);

/// One attack.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attack {
    /// Nothing, for comparison.
    Quiet,
    /// Lists of 10 MB on one connection, unread.
    UnreadLists(usize),
    /// Bodies of 2.9 MB that never end.
    OpenBodies(usize),
    /// Connections that say nothing.
    Silent(usize),
    /// Strategic patches to so many ports, so many at a time.
    Patches(usize, usize),
    /// Lists of 10,000 objects as YAML, at a time.
    Yaml(usize),
    /// Updates of one object of 1 MB, one after the other.
    Updates(usize),
    /// A YAML document whose aliases would make a billion values, at a time.
    Aliases(usize),
}

impl std::fmt::Display for Attack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Quiet => f.write_str("nothing"),
            Self::UnreadLists(count) => write!(f, "{count} unread lists of 10 MB"),
            Self::OpenBodies(count) => write!(f, "{count} bodies of 2.9 MB held open"),
            Self::Silent(count) => write!(f, "{count} silent connections"),
            Self::Patches(count, ports) => write!(f, "{count} patches of {ports} ports"),
            Self::Yaml(count) => write!(f, "{count} lists of 10,000 as YAML"),
            Self::Updates(count) => write!(f, "{count} updates of 1 MB"),
            Self::Aliases(count) => write!(f, "{count} YAML bombs"),
        }
    }
}

/// Makes what the attacks need: objects to list and to change.
pub(crate) async fn prepare(wire: &Wire) -> anyhow::Result<()> {
    let mut sender = wire.http2().await?;
    let mut post = async |path: &str, body: Value| -> anyhow::Result<()> {
        let response = send(&mut sender, "POST", path, "application/json", whole(body.to_string())).await?;
        let code = response.status();
        response.into_body().collect().await?;
        anyhow::ensure!(code.is_success(), "{path} is answered with {code}");
        Ok(())
    };
    post("/api/v1/namespaces", json!({"metadata": {"name": "hostile"}})).await?;
    post("/api/v1/namespaces/default/configmaps", json!({"metadata": {"name": "others"}})).await?;
    for n in 0..OBJECTS {
        post(MAPS, json!({"metadata": {"name": format!("m{n}")}, "data": {"x": "y".repeat(1024)}})).await?;
    }
    for n in 0..4 {
        let spec = json!({"ports": [{"name": "first", "port": 65_000}]});
        post(SERVICES, json!({"metadata": {"name": format!("s{n}")}, "spec": spec})).await?;
    }
    Ok(())
}

/// Carries an attack out; how often the server answered with which code.
pub(crate) async fn run(wire: &Wire, attack: Attack) -> anyhow::Result<BTreeMap<u16, usize>> {
    let codes = timeout(PATIENCE, codes(wire, attack)).await.unwrap_or_else(|_| Ok(Vec::new()))?;
    let mut counted = BTreeMap::new();
    for code in codes {
        *counted.entry(code).or_default() += 1;
    }
    Ok(counted)
}

async fn codes(wire: &Wire, attack: Attack) -> anyhow::Result<Vec<u16>> {
    match attack {
        Attack::Quiet => {
            sleep(HOLD).await;
            Ok(Vec::new())
        }
        Attack::UnreadLists(count) => {
            let sender = wire.http2().await?;
            let lists = (0..count).map(|_| {
                let mut sender = sender.clone();
                async move { send(&mut sender, "GET", MAPS, "application/json", whole("")).await }
            });
            let unread: Vec<_> = join_all(lists).await.into_iter().flatten().collect();
            sleep(HOLD).await;
            Ok(unread.iter().map(|response| response.status().as_u16()).collect())
        }
        Attack::OpenBodies(count) => {
            let bodies = (0..count).map(|_| async {
                // Each on a connection of its own: else the window of the connection is shared.
                let mut sender = wire.http2().await?;
                let answer = send(&mut sender, "POST", MAPS, "application/json", endless());
                anyhow::Ok(
                    timeout(HOLD, answer).await.map(|answer| answer.map(|answer| answer.status().as_u16())),
                )
            });
            Ok(join_all(bodies).await.into_iter().flatten().flatten().flatten().collect())
        }
        Attack::Silent(count) => {
            let mut held = Vec::new();
            for _ in 0..count {
                if let Ok(Ok(stream)) = timeout(Duration::from_secs(5), wire.connect()).await {
                    held.push(stream);
                }
            }
            sleep(HOLD).await;
            Ok(Vec::new())
        }
        Attack::Patches(count, ports) => {
            let ports: Vec<Value> =
                (1..=ports).map(|n| json!({"name": format!("p{n}"), "port": n})).collect();
            let body = Bytes::from(json!({"spec": {"ports": ports}}).to_string());
            let patches = (0..count).map(|n| {
                let body = body.clone();
                async move {
                    let path = format!("{SERVICES}/s{n}?dryRun=All");
                    let media = "application/strategic-merge-patch+json";
                    read(wire, "PATCH", &path, media, body).await
                }
            });
            join_all(patches).await.into_iter().collect()
        }
        Attack::Yaml(count) => {
            let lists = (0..count).map(|_| async {
                let mut sender = wire.http2().await?;
                let request = http::Request::get(format!("https://server{MAPS}"));
                let request = request.header("accept", "application/yaml").body(whole(""))?;
                let response = sender.send_request(request).await?;
                let code = response.status().as_u16();
                response.into_body().collect().await?;
                anyhow::Ok(code)
            });
            join_all(lists).await.into_iter().collect()
        }
        Attack::Updates(count) => {
            let mut codes = Vec::new();
            for n in 0..count {
                let data = json!({"data": {"x": format!("{n}{}", "z".repeat(1_000_000))}});
                let body = Bytes::from(data.to_string());
                codes.push(
                    read(wire, "PATCH", &format!("{MAPS}/m0"), "application/merge-patch+json", body).await?,
                );
            }
            let small = Bytes::from_static(b"{\"data\":{\"x\":\"\"}}");
            read(wire, "PATCH", &format!("{MAPS}/m0"), "application/merge-patch+json", small).await?;
            Ok(codes)
        }
        Attack::Aliases(count) => {
            let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
            for n in 1..9 {
                let uses = vec![format!("*a{}", n - 1); 10].join(",");
                text.push_str(&format!("a{n}: &a{n} [{uses}]\n"));
            }
            let body = Bytes::from(text);
            let bombs = (0..count).map(|_| read(wire, "POST", MAPS, "application/yaml", body.clone()));
            join_all(bombs).await.into_iter().collect()
        }
    }
}

/// A request on a connection of its own whose answer is read; its code.
async fn read(wire: &Wire, method: &str, path: &str, media: &str, body: Bytes) -> anyhow::Result<u16> {
    let mut sender = wire.http2().await?;
    let response = send(&mut sender, method, path, media, whole(body)).await?;
    let code = response.status().as_u16();
    response.into_body().collect().await?;
    Ok(code)
}

/// The beginning of an object, 2.9 MB of it, and no end.
fn endless() -> Body {
    const PIECE: usize = 100_000;
    let begin = Bytes::from_static(b"{\"data\":{\"x\":\"");
    let pieces = stream::iter(std::iter::once(begin).chain((0..29).map(|_| Bytes::from(vec![b'y'; PIECE]))));
    let frames = pieces.chain(stream::pending()).map(|piece| Ok(Frame::data(piece)));
    BodyExt::boxed_unsync(StreamBody::new(frames))
}

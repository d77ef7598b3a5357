//! The time from the change of one endpoint to its answer.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use kube::Client;
use serde_json::json;

use super::records::{self, Records, changed_ip, endpoints, namespace, slices};
use super::subjects::{Subject, has_answer};
use crate::alone::call;
use crate::figures::Sample;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two questions; the server shall have time to take the change in.
const STEP: Duration = Duration::from_micros(100);

/// How many changes are made before the first that counts.
const WARM: usize = 20;

/// Gives one headless Service after the other a new endpoint, and asks for its name until it is there.
pub(super) async fn times(
    client: &Client,
    subject: &Subject,
    records: Records,
    changes: usize,
) -> anyhow::Result<Sample> {
    ensure!(records.headless > 0, "single changes need a headless Service");
    let (mut times, mut changed) = (Vec::new(), BTreeSet::new());
    for version in 1..=WARM + changes {
        let number = version * 97 % records.headless;
        changed.insert(number);
        // A new address in each run: what was there before would be found at once.
        let name = format!(
            "{}.h{number}.{}.svc.cluster.local",
            changed_ip(version).replace('.', "-"),
            namespace(number)
        );
        let body = json!({"endpoints": endpoints(number, version)});
        let path = format!("{}/h{number}", slices(number));
        let server = subject.address;
        let begin = Instant::now();
        let asking = tokio::task::spawn_blocking(move || ask(server, &name, begin));
        call(client, "PATCH", &path, &body).await?;
        let time = asking.await??;
        if version > WARM {
            times.push(time);
        }
    }
    for number in changed {
        let body = json!({"endpoints": records::endpoints(number, 0)});
        call(client, "PATCH", &format!("{}/h{number}", slices(number)), &body).await?;
    }
    Ok(Sample::of_millis(times))
}

fn ask(server: SocketAddr, name: &str, begin: Instant) -> anyhow::Result<Duration> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    while begin.elapsed() < PATIENCE {
        if has_answer(&socket, name).unwrap_or(false) {
            return Ok(begin.elapsed());
        }
        std::thread::sleep(STEP);
    }
    bail!("{name} is not answered after {} s", PATIENCE.as_secs())
}

//! What a proxy weighs: after its start, and after its API server made it list everything again.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::jiff::Timestamp;

use super::ground::{Ground, Shape, change};
use super::subject::{Running, Subject, files, metrics, programmed_after};

/// How long a proxy has to settle.
const SETTLE: Duration = Duration::from_secs(3);

/// How long a proxy may take to list again once the API server is back.
const RELIST: Duration = Duration::from_secs(30);

/// Measures and prints.
pub(super) fn run(program: &Path) -> anyhow::Result<()> {
    let mut ground = Ground::new(program, Shape { services: 10_000, endpoints: 10 })?;
    let (folder, kubeconfig) = files(&ground);
    let subject = Subject { name: "portolan", mode: "nftables", program };
    println!("{:<36} {:>8} {:>8} {:>8}", "portolan nftables, MB", "RSS", "anon", "peak");
    let running = ground.run(async move |_| {
        let running = subject.start((&folder, &kubeconfig)).await?;
        tokio::time::sleep(SETTLE).await;
        Ok(running)
    })?;
    row("after its start", &running);
    for (version, time) in [(1, "first"), (2, "second")] {
        ground.age_server()?;
        let shape = ground.shape;
        ground.run(async move |client| {
            // A list that says what was known changes no rules; a change behind it does.
            let begin = Timestamp::now();
            change(&client, shape, 1, version).await?;
            let listed = programmed_after(begin, Duration::from_millis(20));
            tokio::time::timeout(RELIST, listed).await.context("the proxy does not list again")??;
            tokio::time::sleep(SETTLE).await;
            Ok(())
        })?;
        row(&format!("after the {time} relist"), &running);
    }
    let text = ground.run(async |_| metrics().await)?;
    row(&format!("after a scrape of {} kB", text.len() / 1000), &running);
    drop(running);
    ground.cleanup()
}

fn row(when: &str, running: &Running) {
    let [all, anonymous, peak] = ["VmRSS", "RssAnon", "VmHWM"].map(|field| running.megabytes(field));
    println!("{when:<36} {all:>8.1} {anonymous:>8.1} {peak:>8.1}");
}

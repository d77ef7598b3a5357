//! Startup, liveness and readiness probes: when they run, what their results mean.

use std::{net::IpAddr, sync::Arc, time::Duration};

use api::seconds::Seconds;
use follow::EventType;
use k8s_openapi::{
    api::core::v1::{Container, HTTPGetAction, Pod, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::{sync::mpsc, time::Instant};

use super::{context::Context, supervise};

mod grpc;
mod http;

pub(super) use http::get as http_get;

/// Probe results in Events are cut to this many bytes.
const MAX_MESSAGE: usize = 1024;

/// How long after its first failure a probe is tried again, while it has never succeeded.
const FIRST_SOON: Duration = Duration::from_millis(100);

/// Which of a container's probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Startup,
    Liveness,
    Readiness,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// A probe has crossed one of its thresholds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    /// The run that was probed.
    pub(super) run: String,
    pub(super) kind: Kind,
    pub(super) healthy: bool,
}

/// Counts results until a threshold is reached.
#[derive(Clone, Debug)]
struct Tally {
    successes: u32,
    failures: u32,
    last: Option<bool>,
    run: u32,
}

impl Tally {
    fn of(probe: &Probe) -> Self {
        let threshold =
            |value: Option<i32>, default| value.map_or(default, |value| value.max(1).cast_unsigned());
        Self {
            successes: threshold(probe.success_threshold, 1),
            failures: threshold(probe.failure_threshold, 3),
            last: None,
            run: 0,
        }
    }

    /// Notes a result; the verdict if it reaches a threshold, and again with every further one.
    fn note(&mut self, healthy: bool) -> Option<bool> {
        self.run = if self.last == Some(healthy) { self.run.saturating_add(1) } else { 1 };
        self.last = Some(healthy);
        let threshold = if healthy { self.successes } else { self.failures };
        (self.run >= threshold).then_some(healthy)
    }
}

/// One container's probes while a run of it lasts; dropping it ends them.
#[derive(Debug)]
pub(super) struct Probes(tokio::task::JoinHandle<()>);

impl Drop for Probes {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The run that is probed.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) pod: Arc<Pod>,
    pub(super) container: Container,
    pub(super) run: String,
    pub(super) address: IpAddr,
}

/// Starts a run's probes: the startup probe first, then the two others side by side. Verdicts go to `out`.
pub(super) fn start(context: Arc<Context>, target: Target, out: mpsc::Sender<Verdict>) -> Probes {
    Probes(tokio::spawn(async move {
        let tell =
            |panic: &str| tracing::error!(container = target.container.name, "probes begin anew: {panic}");
        supervise::to_the_end(supervise::FIRST, || all(&context, &target, &out), tell).await;
    }))
}

async fn all(context: &Arc<Context>, target: &Target, out: &mpsc::Sender<Verdict>) {
    if let Some(probe) = &target.container.startup_probe {
        repeat(context, target, probe, Kind::Startup, out).await;
    }
    let other = async |probe: &Option<Probe>, kind| {
        if let Some(probe) = probe {
            repeat(context, target, probe, kind, out).await;
        }
    };
    tokio::join!(
        other(&target.container.liveness_probe, Kind::Liveness),
        other(&target.container.readiness_probe, Kind::Readiness)
    );
}

/// When a probe is tried: each period, and until it first succeeds also soon after a failure, so that what needs a
/// moment to start does not wait for the next period. Only the tries of each period count against a container.
#[derive(Debug)]
struct Pace {
    period: Duration,
    /// When the next try that counts is due.
    due: Instant,
    /// How long after a failure the next try is that does not count.
    soon: Duration,
}

impl Pace {
    fn begin(period: Duration, now: Instant) -> Self {
        Self { period, due: now, soon: FIRST_SOON }
    }

    /// Whether a try at this time counts.
    fn counts(&mut self, now: Instant) -> bool {
        let counts = now >= self.due;
        if counts {
            self.due = now.checked_add(self.period).unwrap_or(now);
        }
        counts
    }

    /// When the next try is, after one that ended at this time; `soon` asks for it before the period is over.
    fn next(&mut self, soon: bool, now: Instant) -> Instant {
        if !soon || self.soon > self.period {
            return self.due;
        }
        let at = now.checked_add(self.soon).unwrap_or(self.due).min(self.due);
        self.soon += self.soon / 2;
        at
    }
}

/// Repeats a probe until its worker is gone; a startup probe until it succeeded.
async fn repeat(
    context: &Arc<Context>,
    target: &Target,
    probe: &Probe,
    kind: Kind,
    out: &mpsc::Sender<Verdict>,
) {
    let seconds = |value: Option<i32>, default: i32| Seconds::from(value.unwrap_or(default)).duration();
    let mut tally = Tally::of(probe);
    let (mut told, mut has_succeeded) = (None, false);
    tokio::time::sleep(seconds(probe.initial_delay_seconds, 0)).await;
    let period = seconds(probe.period_seconds, 10).max(Duration::from_secs(1));
    let mut pace = Pace::begin(period, Instant::now());
    let limit = seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1));
    loop {
        let counts = pace.counts(Instant::now());
        let result = once(context, target, probe, limit).await;
        has_succeeded |= result.is_ok();
        if let Err(message) = result.as_ref()
            && counts
        {
            let message: String = message.chars().take(MAX_MESSAGE).collect();
            let sentence = format!("{} probe failed: {message}", kind.name());
            context.record_container(
                &target.pod,
                &target.container.name,
                EventType::Warning,
                "Unhealthy",
                sentence,
            );
        }
        let verdict = if counts || result.is_ok() { tally.note(result.is_ok()) } else { None };
        // A liveness or startup probe that goes on failing is told again, should the container not have died.
        let news = verdict.filter(|&healthy| told != Some(healthy) || !healthy && kind != Kind::Readiness);
        if let Some(healthy) = news {
            told = Some(healthy);
            if out.send(Verdict { run: target.run.clone(), kind, healthy }).await.is_err() {
                return;
            }
        }
        if kind == Kind::Startup && told == Some(true) {
            return;
        }
        let soon = kind != Kind::Liveness && !has_succeeded;
        tokio::time::sleep_until(pace.next(soon, Instant::now())).await;
    }
}

/// One try. The error is what the Event says.
async fn once(context: &Context, target: &Target, probe: &Probe, limit: Duration) -> Result<(), String> {
    if let Some(exec) = &probe.exec {
        let command = exec.command.as_deref().unwrap_or_default();
        let answer = context.runtime.exec_sync(&target.run, command, limit).await;
        let answer = answer.map_err(|error| error.to_string())?;
        return if answer.exit_code == 0 {
            Ok(())
        } else {
            let output = [answer.stdout, answer.stderr].concat();
            Err(String::from_utf8_lossy(&output).trim_end().to_owned())
        };
    }
    if let Some(action) = &probe.grpc {
        let port = port(&IntOrString::Int(action.port), &target.container)?;
        let service = action.service.as_deref().unwrap_or_default();
        return grpc::check((target.address, port).into(), service, limit).await;
    }
    let network = async {
        if let Some(http) = &probe.http_get {
            return http_get(http, target.address, port(&http.port, &target.container)?).await;
        }
        let Some(tcp) = &probe.tcp_socket else { return Ok(()) };
        let port = port(&tcp.port, &target.container)?;
        let host = tcp.host.clone().filter(|host| !host.is_empty());
        let host = host.unwrap_or_else(|| target.address.to_string());
        let connected = tokio::net::TcpStream::connect((host.as_str(), port)).await;
        connected.map(drop).map_err(|error| format!("dial tcp {host}:{port}: {error}"))
    };
    let late = |_| format!("no answer within {} s", limit.as_secs());
    tokio::time::timeout(limit, network).await.map_err(late)?
}

/// A port by number, or by the name that the container gives it.
pub(super) fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
            named.map(|port| port.container_port).or_else(|| name.parse().ok())
        }
    };
    number
        .and_then(|number| u16::try_from(number).ok())
        .filter(|&number| number > 0)
        .ok_or_else(|| format!("couldn't find port {port:?} in container {}", container.name))
}

/// The path with the slash that URLs have.
fn path(action: &HTTPGetAction) -> String {
    let path = action.path.as_deref().unwrap_or("/");
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_verdict_needs_as_many_results_in_a_row_as_the_threshold_says() {
        let mut tally = Tally::of(&serde_json::from_value(json!({"successThreshold": 2})).unwrap());
        let results = [true, false, false, true, true, false, false, false];
        let verdicts: Vec<_> = results.iter().map(|&result| tally.note(result)).collect();
        assert_eq!(verdicts, [None, None, None, None, Some(true), None, None, Some(false)]);
    }

    #[test]
    fn until_it_first_succeeds_a_probe_is_tried_again_soon_and_counted_once_a_period() {
        let begun = Instant::now();
        let period = Duration::from_secs(10);
        let mut pace = Pace::begin(period, begun);
        let (mut now, mut tries, mut counted) = (begun, Vec::new(), Vec::new());
        while now < begun + period * 3 {
            let at = u64::try_from((now - begun).as_millis()).unwrap();
            tries.push(at);
            if pace.counts(now) {
                counted.push(at);
            }
            now = pace.next(true, now);
        }
        assert_eq!(counted, [0, 10_000, 20_000]);
        assert_eq!(tries[..5], [0, 100, 250, 475, 812]);
        assert!(tries.len() < 18, "{tries:?}");
        let mut pace = Pace::begin(period, begun);
        assert!(pace.counts(begun));
        assert_eq!(pace.next(false, begun), begun + period, "after a success the next is a period later");
        let mut longest = Pace::begin(Seconds::MAX.duration(), begun);
        assert!(longest.counts(begun) && longest.next(false, begun) > begun);
    }

    #[test]
    fn a_port_may_be_named() {
        let container: Container =
            serde_json::from_value(json!({"name": "c", "ports": [{"name": "web", "containerPort": 80}]}))
                .unwrap();
        assert_eq!(port(&IntOrString::String("web".into()), &container), Ok(80));
        assert_eq!(port(&IntOrString::Int(81), &container), Ok(81));
        assert!(port(&IntOrString::String("x".into()), &container).is_err());
        assert!(port(&IntOrString::Int(70_000), &container).is_err());
    }
}

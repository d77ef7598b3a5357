//! Stopping containers gracefully: preStop hook, stop signal, SIGKILL when the time is over.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use api::seconds::Seconds;
use follow::EventType;
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod, Probe};

use super::{context::Context, plan, probe};

/// Even a container without any time left gets this long after its stop signal, as with the kubelet.
const SHORTEST: Duration = Duration::from_secs(2);
/// The grace period of pods that name none.
const DEFAULT_GRACE: i64 = 30;

/// When containers that have `grace` from now on are to have ended.
pub(super) fn deadline(grace: Duration) -> Instant {
    Instant::now().checked_add(grace).unwrap_or_else(|| Instant::now() + Seconds::MAX.duration())
}

/// How long the pod's containers may take to end: what its deletion says, else what its specification says.
pub(super) fn grace_of(pod: &Pod) -> Duration {
    let of_spec = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    let seconds = pod.metadata.deletion_grace_period_seconds.or(of_spec).unwrap_or(DEFAULT_GRACE);
    Seconds::from(seconds).duration().max(SHORTEST)
}

/// How long a container may take to end after `probe` has failed: what the probe says, else as [`grace_of`].
pub(super) fn grace_after(pod: &Pod, probe: Option<&Probe>) -> Duration {
    let seconds = probe.and_then(|probe| probe.termination_grace_period_seconds);
    seconds.map_or_else(|| grace_of(pod), |seconds| Seconds::from(seconds).duration().max(SHORTEST))
}

/// Stops the given runs (container name and id) until `deadline`, all main containers at once, then sidecars in the
/// reverse order of their start. Returns when none runs any more; what fails is logged, as removing the sandbox
/// kills the rest.
pub(super) async fn stop(
    context: &Context,
    pod: &Pod,
    address: Option<IpAddr>,
    runs: Vec<(String, String)>,
    deadline: Instant,
) {
    let Some(spec) = &pod.spec else { return };
    let find = |container: &Container| {
        runs.iter().find(|(name, _)| *name == container.name).map(|(_, id)| id.clone())
    };
    let inits = spec.init_containers.iter().flatten();
    let (sidecars, inits): (Vec<&Container>, Vec<&Container>) =
        inits.partition(|init| plan::is_sidecar(init));
    let first = inits.into_iter().chain(&spec.containers);
    let first = first.filter_map(|container| Some((container, find(container)?)));
    let why = |container: &Container| format!("Stopping container {}", container.name);
    let stop = |(container, id)| stop_one(context, pod, address, container, id, deadline, why(container));
    join_all(first.map(stop)).await;
    for container in sidecars.into_iter().rev() {
        if let Some(id) = find(container) {
            stop_one(context, pod, address, container, id, deadline, why(container)).await;
        }
    }
}

/// Stops one container that is to end by `deadline`; `why` is the sentence of the Event.
pub(super) async fn stop_one(
    context: &Context,
    pod: &Pod,
    address: Option<IpAddr>,
    container: &Container,
    id: String,
    deadline: Instant,
    why: String,
) {
    let name = &container.name;
    context.record_container(pod, name, EventType::Normal, "Killing", why);
    let left = || deadline.saturating_duration_since(Instant::now());
    if let Some(hook) = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref()) {
        let ran =
            tokio::time::timeout(left(), hook_once(context, container, address, &id, hook, left())).await;
        if let Ok(Err(message)) = ran {
            let sentence = format!("PreStopHook failed: {message}");
            context.record_container(pod, name, EventType::Warning, "FailedPreStopHook", sentence);
        }
    }
    if let Err(error) = context.runtime.stop_container(&id, left().max(SHORTEST)).await
        && !error.is_not_found()
    {
        tracing::warn!(container = name, "cannot stop the container: {error}");
    }
}

/// Runs a lifecycle hook to its end. The error is a sentence.
pub(super) async fn hook_once(
    context: &Context,
    container: &Container,
    address: Option<IpAddr>,
    id: &str,
    hook: &LifecycleHandler,
    limit: Duration,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let command = exec.command.as_deref().unwrap_or_default();
        let answer =
            context.runtime.exec_sync(id, command, limit).await.map_err(|error| error.to_string())?;
        return match answer.exit_code {
            0 => Ok(()),
            code => {
                Err(format!("{command:?} exited with {code}: {}", String::from_utf8_lossy(&answer.stderr)))
            }
        };
    }
    if hook.tcp_socket.is_some() {
        return Err("tcpSocket is no handler for a hook".into());
    }
    if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(Seconds::from(sleep.seconds).duration().min(limit)).await;
    }
    if let (Some(http), Some(address)) = (&hook.http_get, address) {
        return probe::http_get(http, address, probe::port(&http.port, container)?).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_deletions_grace_period_wins_over_the_specifications() {
        let pod = |deletion: Option<i64>, spec: Option<i64>| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"deletionGracePeriodSeconds": deletion},
                "spec": {"containers": [], "terminationGracePeriodSeconds": spec},
            }))
            .unwrap()
        };
        assert_eq!(grace_of(&pod(Some(5), Some(60))).as_secs(), 5);
        assert_eq!(grace_of(&pod(None, Some(60))).as_secs(), 60);
        assert_eq!(grace_of(&pod(None, None)).as_secs(), 30);
        assert_eq!(grace_of(&pod(Some(0), None)), SHORTEST);
        let own: Probe = serde_json::from_value(json!({"terminationGracePeriodSeconds": 3})).unwrap();
        assert_eq!(grace_after(&pod(None, None), Some(&own)).as_secs(), 3);
        assert_eq!(grace_after(&pod(None, None), Some(&Probe::default())).as_secs(), 30);
    }

    #[test]
    fn the_longest_grace_period_is_one_that_a_clock_can_add() {
        let spec = json!({"containers": [], "terminationGracePeriodSeconds": i64::MAX});
        let pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
        let probe: Probe =
            serde_json::from_value(json!({"terminationGracePeriodSeconds": i64::MAX})).unwrap();
        for grace in [grace_of(&pod), grace_after(&pod, Some(&probe))] {
            assert!(Instant::now().checked_add(grace).is_some());
            assert!(i64::try_from(grace.as_nanos()).is_ok(), "runtimes count nanoseconds in 64 bits");
        }
    }
}

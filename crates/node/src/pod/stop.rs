//! Stopping containers gracefully: preStop hook, stop signal, SIGKILL when the time is over.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};

use super::{manager::Context, plan, probe};
use crate::recorder::Kind;

/// Even a container without any time left gets this long after its stop signal, as with the kubelet.
const SHORTEST: Duration = Duration::from_secs(2);
/// The grace period of pods that name none.
const DEFAULT_GRACE: i64 = 30;

/// How long the pod's containers may take to end: what its deletion says, else what its specification says.
pub(super) fn grace_of(pod: &Pod) -> Duration {
    let of_spec = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    let seconds = pod.metadata.deletion_grace_period_seconds.or(of_spec).unwrap_or(DEFAULT_GRACE);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).max(SHORTEST)
}

/// Stops the given runs (container name and id), all main containers at once, then sidecars in the reverse
/// order of their start. Returns when none runs any more; what fails is logged, as removing the sandbox
/// kills the rest.
pub(super) async fn stop(
    context: &Context,
    pod: &Pod,
    address: Option<IpAddr>,
    runs: Vec<(String, String)>,
    grace: Duration,
) {
    let deadline = Instant::now() + grace;
    let Some(spec) = &pod.spec else { return };
    let find = |container: &Container| {
        runs.iter().find(|(name, _)| *name == container.name).map(|(_, id)| id.clone())
    };
    let inits = spec.init_containers.iter().flatten();
    let (sidecars, inits): (Vec<&Container>, Vec<&Container>) =
        inits.partition(|init| plan::is_sidecar(init));
    let first = inits.into_iter().chain(&spec.containers);
    let first = first.filter_map(|container| Some((container, find(container)?)));
    join_all(first.map(|(container, id)| stop_one(context, pod, address, container, id, deadline))).await;
    for container in sidecars.into_iter().rev() {
        if let Some(id) = find(container) {
            stop_one(context, pod, address, container, id, deadline).await;
        }
    }
}

/// Stops one container that is to end by `deadline`.
pub(super) async fn stop_one(
    context: &Context,
    pod: &Pod,
    address: Option<IpAddr>,
    container: &Container,
    id: String,
    deadline: Instant,
) {
    let name = &container.name;
    context.record_container(pod, name, Kind::Normal, "Killing", format!("Stopping container {name}"));
    let left = || deadline.saturating_duration_since(Instant::now());
    if let Some(hook) = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref()) {
        let ran =
            tokio::time::timeout(left(), hook_once(context, container, address, &id, hook, left())).await;
        if let Ok(Err(message)) = ran {
            let sentence = format!("PreStopHook failed: {message}");
            context.record_container(pod, name, Kind::Warning, "FailedPreStopHook", sentence);
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
    if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0)).min(limit)).await;
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
    }
}

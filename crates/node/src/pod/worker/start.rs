//! Bringing a pod up: its sandbox, and the runs of its containers.

use std::{fs, path::PathBuf, time::Duration};

use follow::EventType;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::{Wish, Worker, drop_sandbox, sleep_until, stop_sandbox};
use crate::{
    Config,
    cri::messages::*,
    pod::{
        container, disk,
        downward::Facts,
        env, fields, files, hosts, image, links, names,
        observed::{self, Run},
        plan::{self, SANDBOX},
        rotate, sandbox, security, sources, stop, termination, volumes,
    },
};

/// Runs of a container that are kept, for the last state and `kubectl logs --previous`.
const KEPT_RUNS: usize = 2;
/// Volumes that could not be brought up to date are tried again after this long.
const REFRESH_AGAIN: Duration = Duration::from_secs(30);
/// A postStart hook may take at least this long.
const HOOK_LIMIT: Duration = Duration::from_secs(60);

impl Worker {
    /// Makes the pod's sandbox, network included.
    pub(super) async fn make_sandbox(&mut self, attempt: u32) {
        self.publish(false);
        let config = sandbox::config(&self.pod, &self.context.config, attempt, &self.context.machine_dns);
        let runtime = &self.context.runtime;
        let made = async {
            hosts::kernel_name(&self.pod, &self.context.config.cluster_domain)?;
            self.context.host_ports.claim(&names::uid(&self.pod), &self.pod, &[])?;
            let log_dir = config.log_directory.clone();
            disk::run(move || fs::create_dir_all(log_dir))
                .await
                .map_err(|error| format!("{}: {error}", config.log_directory))?;
            let request =
                RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: String::new() };
            let answer = runtime.run_pod_sandbox(request).await.map_err(|error| error.to_string())?;
            let sandbox = observed::sandbox(runtime, &answer.pod_sandbox_id).await;
            sandbox.map_err(|error| error.to_string())
        };
        match made.await {
            Ok(sandbox) => {
                self.lead_host_ports(&sandbox.ips);
                for lack in fields::lacks(&self.pod) {
                    self.context.record(&self.pod, EventType::Warning, "NotCarriedOut", lack);
                }
                self.memories.remove(SANDBOX);
                self.observed.send_modify(|observed| observed.sandbox = Some(sandbox));
            }
            Err(message) => {
                let message = format!("Failed to create pod sandbox: {message}");
                self.context.record(&self.pod, EventType::Warning, "FailedCreatePodSandBox", message.clone());
                self.hinder(SANDBOX, "ContainerCreating", message);
            }
        }
    }

    /// Removes a sandbox that no longer stands; the plan makes a new one.
    pub(super) async fn replace_sandbox(&mut self, id: &str) {
        let message = "Pod sandbox changed, it will be killed and re-created.";
        self.context.record(&self.pod, EventType::Normal, "SandboxChanged", message.into());
        stop_sandbox(&self.context, id).await;
        self.refresh().await;
        drop_sandbox(&self.context, id).await;
        self.observed.send_modify(|observed| {
            observed.old_sandboxes.retain(|old| old != id);
            observed.sandbox.take_if(|sandbox| sandbox.id == id);
        });
    }

    /// Starts a container's next run, its image first.
    pub(super) async fn start(&mut self, name: &str, attempt: u32) {
        let Some(container) = self.container(name).cloned() else { return };
        self.publish(false);
        if let Some(message) = fields::refusal(&self.pod, &container) {
            let sentence = format!("Error: {message}");
            self.context.record_container(&self.pod, name, EventType::Warning, "Failed", sentence);
            return self.hinder(name, plan::CONFIG, message);
        }
        let mut wishes = self.wishes.clone();
        let told = (self.context.clone(), self.pod.clone(), name.to_owned());
        let tell = |kind, reason, message| {
            let (context, pod, name) = &told;
            context.record_container(pod, name, kind, reason, message);
        };
        // A pull may take minutes; neither a deletion nor the pod's deadline waits for it.
        let deadline = self.deadline();
        let ready = tokio::select! {
            ready = image::ensure(&self.context.runtime, &self.context.imported, &container, &tell) => ready,
            _ = wishes.wait_for(Wish::is_stop) => return,
            () = sleep_until(deadline) => return,
        };
        let ready = match ready {
            Ok(ready) => ready,
            Err(failed) => {
                let known = self.memories.get(name).and_then(|memory| memory.obstacle.as_ref());
                let again = known.is_some() && failed.reason == "ErrImagePull";
                let (reason, message) = if again {
                    let image = container.image.as_deref().unwrap_or_default();
                    let message = format!("Back-off pulling image \"{image}\": {}", failed.message);
                    tell(EventType::Normal, "BackOff", message.clone());
                    ("ImagePullBackOff", message)
                } else {
                    (failed.reason, failed.message)
                };
                return self.hinder(name, reason, message);
            }
        };
        tell(EventType::Normal, "Pulled", ready.sentence);
        if let Err((reason, message)) = self.create_and_start(&container, attempt, &ready.image).await {
            // A volume has had an Event of its own.
            if reason != plan::MOUNT {
                tell(EventType::Warning, "Failed", format!("Error: {message}"));
            }
            self.hinder(name, reason, message);
        }
    }

    /// Makes a container and starts it. The error is a reason for the status, and a sentence.
    async fn create_and_start(
        &mut self,
        container: &Container,
        attempt: u32,
        image: &Image,
    ) -> Result<(), (&'static str, String)> {
        const CONFIG: &str = plan::CONFIG;
        const CREATE: &str = "CreateContainerError";
        let pod = self.pod.clone();
        let root = |image: &Image| {
            let user = security::container(&pod, container).run_as_user.map(|user| user.value);
            user.or(image.uid.as_ref().map(|uid| uid.value)).unwrap_or(0) == 0 && image.username.is_empty()
        };
        if security::must_not_be_root(&pod, container) && root(image) {
            return Err((CONFIG, "container has runAsNonRoot and image will run as root".into()));
        }
        let facts = self.facts();
        if self.sources.is_none() {
            self.sources = sources::Watch::start(&self.context.client, &pod);
        }
        let mut sources =
            files::fetch(&self.context.client, &pod).await.map_err(|error| (CONFIG, error.to_string()))?;
        let tokens = self.tokens.fetch(&self.context.client, &pod).await;
        sources.tokens = tokens.map_err(|message| {
            self.context.record(&pod, EventType::Warning, "FailedMount", message.clone());
            (plan::MOUNT, message)
        })?;
        self.refresh_at = self.tokens.renew_at();
        if self.places.is_none() {
            let (pod, facts, sources, folders) =
                (pod.clone(), facts.clone(), sources.clone(), self.volume_folders());
            let memory = self.context.machine.memory;
            let made = disk::run(move || volumes::prepare(&pod, &facts, &sources, &folders, memory)).await;
            if let Err(message) = &made {
                self.context.record(&self.pod, EventType::Warning, "FailedMount", message.clone());
            }
            self.places = Some(made.map_err(|message| (plan::MOUNT, message))?);
        }
        let places = self.places.clone().unwrap_or_default();
        let services =
            links::fetch(&self.context.client, &pod).await.map_err(|error| (CONFIG, error.to_string()))?;
        let environment = env::environment(&pod, container, &facts, &sources, links::variables(&services))
            .map_err(|message| (CONFIG, message))?;
        let (sandbox_id, sandbox_attempt) = match &self.observed.borrow().sandbox {
            Some(sandbox) => (sandbox.id.clone(), sandbox.attempt),
            None => return Ok(()),
        };
        let sandbox_config =
            sandbox::config(&pod, &self.context.config, sandbox_attempt, &self.context.machine_dns);
        let made = {
            let (context, pod, container) = (self.context.clone(), pod.clone(), container.clone());
            let (environment, folders) = (environment.clone(), self.volume_folders());
            let log_dir = PathBuf::from(&sandbox_config.log_directory).join(&container.name);
            disk::run(move || {
                let hosts = write_hosts(&context.config, &pod, &facts)
                    .map_err(|error| (CONFIG, format!("cannot write /etc/hosts: {error}")))?;
                let mut mounts = volumes::mounts(&pod, &container, &places, &environment, &hosts, &folders)
                    .map_err(|message| (CONFIG, message))?;
                let termination = termination::mount(&context.config, &pod, &container, attempt);
                mounts.push(
                    termination
                        .map_err(|error| (CREATE, format!("cannot write the termination log: {error}")))?,
                );
                fs::create_dir_all(&log_dir)
                    .map_err(|error| (CREATE, format!("{}: {error}", log_dir.display())))?;
                Ok(mounts)
            })
        };
        let config = container::config(&pod, container, attempt, &image.id, &environment, made.await?);
        let request = CreateContainerRequest {
            pod_sandbox_id: sandbox_id.clone(),
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        let runtime = self.context.runtime.clone();
        let id = runtime
            .create_container(request)
            .await
            .map_err(|error| (CREATE, error.to_string()))?
            .container_id;
        let name = container.name.clone();
        let tell = |kind, reason, message| self.context.record_container(&pod, &name, kind, reason, message);
        tell(EventType::Normal, "Created", format!("Created container: {name}"));
        let started = runtime.start_container(StartContainerRequest { container_id: id.clone() }).await;
        match &started {
            Ok(_) => tell(EventType::Normal, "Started", format!("Started container {name}")),
            Err(error) => tell(EventType::Warning, "Failed", format!("Error: {error}")),
        }
        let status = runtime.container_status(&id).await.map_err(|error| (CREATE, error.to_string()))?;
        let run = Run { sandbox_id, ..Run::from(&status) };
        self.started(container, run).await;
        Ok(())
    }

    /// Notes a new run, forgets the oldest, runs the postStart hook and begins to probe.
    async fn started(&mut self, container: &Container, run: Run) {
        let name = container.name.clone();
        let before = self.observed.borrow().current(&name).and_then(|old| old.ended().cloned());
        let memory = self.memories.entry(name.clone()).or_default();
        if let Some(ended) = before {
            memory.restarts.retried(plan::time(ended.finished));
        }
        memory.obstacle = None;
        memory.ready = false;
        memory.started = run.is_running() && container.startup_probe.is_none();
        memory.out_of_memory = false;
        let mut forgotten = Vec::new();
        self.observed.send_modify(|observed| {
            let runs = observed.runs.entry(name.clone()).or_default();
            runs.push(run.clone());
            let surplus = runs.len().saturating_sub(KEPT_RUNS);
            forgotten.extend(runs.drain(..surplus));
        });
        for old in forgotten {
            self.forget(&name, &old).await;
        }
        let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref());
        if let Some(hook) = hook.filter(|_| run.is_running()) {
            let address = self.observed.borrow().ips().first().copied();
            let limit = stop::grace_of(&self.pod).max(HOOK_LIMIT);
            if let Err(message) =
                stop::hook_once(&self.context, container, address, &run.id, hook, limit).await
            {
                let sentence = format!("PostStartHook failed: {message}");
                self.context.record_container(
                    &self.pod,
                    &name,
                    EventType::Warning,
                    "FailedPostStartHook",
                    sentence,
                );
                let deadline = stop::deadline(stop::grace_of(&self.pod));
                let why = "FailedPostStartHook".to_owned();
                stop::stop_one(&self.context, &self.pod, address, container, run.id, deadline, why).await;
                return;
            }
        }
        if run.is_running() {
            self.probe(container, &run);
        }
    }

    /// Removes an old run from the runtime, and its log.
    async fn forget(&self, name: &str, run: &Run) {
        let removed =
            self.context.runtime.remove_container(RemoveContainerRequest { container_id: run.id.clone() });
        if let Err(error) = removed.await {
            tracing::debug!(container = run.id, "cannot remove an old run: {error}");
        }
        let log = self.log_dir().join(names::log_path(name, run.attempt));
        disk::run(move || {
            if let Err(error) = rotate::remove(&log) {
                tracing::debug!("cannot remove {}: {error}", log.display());
            }
        })
        .await;
    }

    /// Brings the volumes that are made from objects up to date. What fails is tried again.
    pub(super) async fn refresh_volumes(&mut self) {
        let refreshed = async {
            let mut sources =
                files::fetch(&self.context.client, &self.pod).await.map_err(|error| error.to_string())?;
            sources.tokens = self.tokens.fetch(&self.context.client, &self.pod).await?;
            let (pod, facts, folders) = (self.pod.clone(), self.facts(), self.volume_folders());
            let refreshed = disk::run(move || volumes::refresh(&pod, &facts, &sources, &folders)).await;
            refreshed.map_err(|error| error.to_string())
        };
        self.refresh_at = match refreshed.await {
            Ok(()) => self.tokens.renew_at(),
            Err(error) => {
                tracing::warn!("the volumes of a pod are not brought up to date: {error}");
                Timestamp::now().saturating_add(REFRESH_AGAIN).ok()
            }
        };
    }

    fn facts(&self) -> Facts {
        let host_network = self.pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
        let host_ip = self.context.config.internal_ip;
        Facts {
            pod_ips: if host_network { vec![host_ip] } else { self.observed.borrow().ips().to_vec() },
            host_ip,
            cpus: self.context.machine.cpus as f64,
            memory: self.context.machine.memory as f64,
        }
    }

    /// Lets the pod's host ports lead to its addresses. The pod runs without them if that fails.
    pub(super) fn lead_host_ports(&self, addresses: &[std::net::IpAddr]) {
        if let Err(error) = self.context.host_ports.claim(&names::uid(&self.pod), &self.pod, addresses) {
            self.context.record(&self.pod, EventType::Warning, "HostPortFailed", error);
        }
    }

    fn volume_folders(&self) -> volumes::Folders {
        volumes::Folders::new(&names::files_dir(&self.context.config, &names::uid(&self.pod)))
    }
}

fn write_hosts(config: &Config, pod: &Pod, facts: &Facts) -> std::io::Result<PathBuf> {
    let dir = names::files_dir(config, &names::uid(pod));
    disk::make_private(&dir)?;
    let path = dir.join("etc-hosts");
    fs::write(&path, hosts::hosts_file(pod, &facts.pod_ips, &config.cluster_domain))?;
    Ok(path)
}

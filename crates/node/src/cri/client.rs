//! A client of the CRI over a unix socket.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use http::uri::PathAndQuery;
use tonic::{
    Request,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use super::messages::*;

/// The longest a call may take that only reads or changes the runtime's own books.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// The longest a call may take that only looks something up while someone waits at a terminal.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest a pull may take. Pulls are cancelled by dropping the future, too.
const PULL_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// A list of every container of a busy node can be larger than gRPC's usual 4 MiB.
const MAX_MESSAGE: usize = 16 << 20;

/// A call to the container runtime failed.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The runtime answered with an error.
    #[error("{}", .0.message())]
    Refused(#[source] Box<tonic::Status>),
    /// The runtime did not answer in time.
    #[error("the container runtime did not answer {call} within {} s; is it still running?", .after.as_secs())]
    Timeout {
        /// Name of the call.
        call: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// The runtime answered without a field that the CRI demands.
    #[error("the container runtime answered {call} without {field}")]
    Incomplete {
        /// Name of the call.
        call: &'static str,
        /// The missing field.
        field: &'static str,
    },
}

impl RuntimeError {
    /// Whether the runtime does not know the sandbox, container or image that was asked for.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(status) if status.code() == tonic::Code::NotFound)
    }

    /// Whether the runtime does not have the call at all.
    pub fn is_unimplemented(&self) -> bool {
        matches!(self, Self::Refused(status) if status.code() == tonic::Code::Unimplemented)
    }
}

impl From<tonic::Status> for RuntimeError {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// A handle to the container runtime. Clones share one connection, which is made at the first call and
/// made again after the runtime restarted.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
}

impl Client {
    /// A client of the runtime that listens on the unix socket `path`. Does not connect yet.
    pub fn new(path: &Path) -> Result<Self, RuntimeError> {
        let endpoint = Endpoint::try_from(format!("unix://{}", path.display()))
            .map_err(|error| tonic::Status::invalid_argument(format!("{}: {error}", path.display())))?;
        Ok(Self { channel: endpoint.connect_lazy() })
    }

    pub(super) fn grpc(&self) -> tonic::client::Grpc<Channel> {
        tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    async fn unary<Q, A>(&self, path: &'static str, request: Q, limit: Duration) -> Result<A, RuntimeError>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let call = async {
            let mut grpc = self.grpc();
            grpc.ready().await.map_err(|error| {
                tonic::Status::unavailable(format!("the container runtime cannot be reached: {error}"))
            })?;
            let codec = ProstCodec::<Q, A>::default();
            grpc.unary(Request::new(request), PathAndQuery::from_static(path), codec).await
        };
        match tokio::time::timeout(limit, call).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_) => Err(RuntimeError::Timeout { call: path, after: limit }),
        }
    }
}

/// Finds a sandbox's network namespace in what containerd and CRI-O tell when they are asked for everything (JSON): its
/// name in the file system, else that of its first process.
fn network_namespace(info: &str) -> Option<PathBuf> {
    let info: serde_json::Value = serde_json::from_str(info).ok()?;
    let namespaces = info["runtimeSpec"]["linux"]["namespaces"].as_array().map(Vec::as_slice);
    let network = namespaces.unwrap_or_default().iter().find(|namespace| namespace["type"] == "network");
    let named = network.and_then(|network| network["path"].as_str()).filter(|path| !path.is_empty());
    let of_process = || info["pid"].as_u64().filter(|&pid| pid > 0).map(|pid| format!("/proc/{pid}/ns/net"));
    named.map(str::to_owned).or_else(of_process).map(PathBuf::from)
}

/// Writes one method of [`Client`] for each row: name, request, answer, path, time limit.
macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($request:ty) -> $answer:ty = $path:literal, $limit:expr;)*) => {
        impl Client {
            $(
                $(#[$doc])*
                pub async fn $name(&self, request: $request) -> Result<$answer, RuntimeError> {
                    self.unary($path, request, $limit).await
                }
            )*
        }
    };
}

calls! {
    /// Name and version of the runtime.
    version(VersionRequest) -> VersionResponse = "/runtime.v1.RuntimeService/Version", CALL_TIMEOUT;
    /// The conditions RuntimeReady and NetworkReady.
    status(StatusRequest) -> StatusResponse = "/runtime.v1.RuntimeService/Status", CALL_TIMEOUT;
    /// Creates and starts a sandbox, its network included.
    run_pod_sandbox(RunPodSandboxRequest) -> RunPodSandboxResponse = "/runtime.v1.RuntimeService/RunPodSandbox", CALL_TIMEOUT;
    /// Kills everything in a sandbox and takes its network down. Idempotent.
    stop_pod_sandbox(StopPodSandboxRequest) -> StopPodSandboxResponse = "/runtime.v1.RuntimeService/StopPodSandbox", CALL_TIMEOUT;
    /// Removes a sandbox and its containers. Idempotent.
    remove_pod_sandbox(RemovePodSandboxRequest) -> RemovePodSandboxResponse = "/runtime.v1.RuntimeService/RemovePodSandbox", CALL_TIMEOUT;
    /// State and addresses of a sandbox.
    pod_sandbox_status(PodSandboxStatusRequest) -> PodSandboxStatusResponse = "/runtime.v1.RuntimeService/PodSandboxStatus", CALL_TIMEOUT;
    /// Every sandbox.
    list_pod_sandbox(ListPodSandboxRequest) -> ListPodSandboxResponse = "/runtime.v1.RuntimeService/ListPodSandbox", CALL_TIMEOUT;
    /// Creates a container in a sandbox; it does not run yet.
    create_container(CreateContainerRequest) -> CreateContainerResponse = "/runtime.v1.RuntimeService/CreateContainer", CALL_TIMEOUT;
    /// Starts a created container.
    start_container(StartContainerRequest) -> StartContainerResponse = "/runtime.v1.RuntimeService/StartContainer", CALL_TIMEOUT;
    /// Removes a container, killing it if it runs. Idempotent.
    remove_container(RemoveContainerRequest) -> RemoveContainerResponse = "/runtime.v1.RuntimeService/RemoveContainer", CALL_TIMEOUT;
    /// Every container.
    list_containers(ListContainersRequest) -> ListContainersResponse = "/runtime.v1.RuntimeService/ListContainers", CALL_TIMEOUT;
    /// URL at which a command can be run in a container with streams.
    exec(ExecRequest) -> ExecResponse = "/runtime.v1.RuntimeService/Exec", LOOK_UP_TIMEOUT;
    /// URL at which the streams of a container's main process are served.
    attach(AttachRequest) -> AttachResponse = "/runtime.v1.RuntimeService/Attach", LOOK_UP_TIMEOUT;
    /// Makes the runtime open a container's log file anew, after the old one was moved away.
    reopen_container_log(ReopenContainerLogRequest) -> ReopenContainerLogResponse = "/runtime.v1.RuntimeService/ReopenContainerLog", CALL_TIMEOUT;
    /// Every image.
    list_images(ListImagesRequest) -> ListImagesResponse = "/runtime.v1.ImageService/ListImages", LOOK_UP_TIMEOUT;
    /// Pulls an image from its registry.
    pull_image(PullImageRequest) -> PullImageResponse = "/runtime.v1.ImageService/PullImage", PULL_TIMEOUT;
}

impl Client {
    /// State of one container.
    pub async fn container_status(&self, container_id: &str) -> Result<ContainerStatus, RuntimeError> {
        let path = "/runtime.v1.RuntimeService/ContainerStatus";
        let request = ContainerStatusRequest { container_id: container_id.to_owned(), verbose: false };
        let answer: ContainerStatusResponse = self.unary(path, request, CALL_TIMEOUT).await?;
        answer.status.ok_or(RuntimeError::Incomplete { call: "ContainerStatus", field: "status" })
    }

    /// The file of a sandbox's network namespace; `None` when the runtime does not tell.
    pub async fn network_namespace(&self, pod_sandbox_id: &str) -> Result<Option<PathBuf>, RuntimeError> {
        let path = "/runtime.v1.RuntimeService/PodSandboxStatus";
        let request = PodSandboxStatusRequest { pod_sandbox_id: pod_sandbox_id.to_owned(), verbose: true };
        let answer: PodSandboxStatusResponse = self.unary(path, request, LOOK_UP_TIMEOUT).await?;
        Ok(answer.info.get("info").and_then(|info| network_namespace(info)))
    }

    /// What the runtime knows about an image by name or id; `None` when it is not on this machine.
    pub async fn image_status(&self, image: &str) -> Result<Option<Image>, RuntimeError> {
        let path = "/runtime.v1.ImageService/ImageStatus";
        let image = Some(ImageSpec { image: image.to_owned(), ..Default::default() });
        let request = ImageStatusRequest { image, verbose: false };
        let answer: ImageStatusResponse = self.unary(path, request, CALL_TIMEOUT).await?;
        Ok(answer.image)
    }

    /// Stops a container: its stop signal first, SIGKILL after `grace`. Idempotent.
    pub async fn stop_container(&self, container_id: &str, grace: Duration) -> Result<(), RuntimeError> {
        let path = "/runtime.v1.RuntimeService/StopContainer";
        let timeout = i64::try_from(grace.as_secs()).unwrap_or(i64::MAX);
        let request = StopContainerRequest { container_id: container_id.to_owned(), timeout };
        let _: StopContainerResponse = self.unary(path, request, CALL_TIMEOUT.saturating_add(grace)).await?;
        Ok(())
    }

    /// Runs a command in a container to its end; the runtime kills it after `limit`.
    pub async fn exec_sync(
        &self,
        container_id: &str,
        cmd: &[String],
        limit: Duration,
    ) -> Result<ExecSyncResponse, RuntimeError> {
        let path = "/runtime.v1.RuntimeService/ExecSync";
        let timeout = i64::try_from(limit.as_secs()).unwrap_or(i64::MAX);
        let request = ExecSyncRequest { container_id: container_id.to_owned(), cmd: cmd.to_vec(), timeout };
        self.unary(path, request, CALL_TIMEOUT.saturating_add(limit)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_namespace_is_found_by_its_name_or_by_the_sandboxs_process() {
        let named = r#"{"pid": 7, "runtimeSpec": {"linux": {"namespaces": [
            {"type": "pid"}, {"type": "network", "path": "/run/netns/a"}]}}}"#;
        assert_eq!(network_namespace(named), Some("/run/netns/a".into()));
        assert_eq!(network_namespace(r#"{"pid": 7}"#), Some("/proc/7/ns/net".into()));
        for nothing in ["", "{}", r#"{"pid": 0}"#, "[]"] {
            assert_eq!(network_namespace(nothing), None, "{nothing}");
        }
    }
}

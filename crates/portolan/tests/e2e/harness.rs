//! A cluster for tests, and the words in which tests speak of it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_portolan");
/// How long anything may take that needs no one's help; generous, since machines are shared.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(50);

/// Whether a test may make namespaces and containers; says so if not.
pub(crate) fn may_run(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("passed over: {test} needs root");
    }
    root
}

/// Looks until a condition holds, and returns what it then gives.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let begin = Instant::now();
    loop {
        match look() {
            Ok(value) => return value,
            Err(state) if begin.elapsed() > PATIENCE => panic!("{what}: not after {PATIENCE:?}: {state}"),
            Err(_) => sleep(STEP),
        }
    }
}

/// What a command printed, and whether it succeeded.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        Self { ok: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// What a successful command printed.
    #[track_caller]
    pub(crate) fn good(self) -> String {
        assert!(self.ok, "the command failed: {}\n{}", self.err, self.out);
        self.out
    }

    /// What a failed command complained about.
    #[track_caller]
    pub(crate) fn bad(self) -> String {
        assert!(!self.ok, "the command should have failed: {}", self.out);
        self.err
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Said {
    Said::of(&command.stdin(Stdio::null()).output().expect("the command can be started"))
}

/// A port of the loopback address that no one uses.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be had");
    listener.local_addr().expect("a listener has an address").port()
}

/// A process that ends with its value.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts the program and waits for the line that begins with `ready`. Its log goes to a file.
pub(crate) fn start_ready(command: &mut Command, log: &Path) -> Result<(Process, String), String> {
    let log_file = File::create(log).map_err(|error| error.to_string())?;
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_file).spawn();
    let mut process = Process(child.map_err(|error| error.to_string())?);
    let output = process.0.stdout.take().ok_or("no output")?;
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            drop(tell.send(line));
        }
    });
    loop {
        match told.recv_timeout(PATIENCE) {
            Ok(line) if line.starts_with("ready") => return Ok((process, line)),
            Ok(_) => {}
            Err(_) => return Err(std::fs::read_to_string(log).unwrap_or_default()),
        }
    }
}

/// A cluster of its own, removed with the value.
pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) port: u16,
    pub(crate) process: Mutex<Option<Process>>,
}

/// Tells the clusters of one test process apart.
static CLUSTERS: AtomicU32 = AtomicU32::new(0);

impl Cluster {
    /// A cluster that has not been started.
    pub(crate) fn new() -> Self {
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let folder =
            tempfile::Builder::new().prefix("portolan-e2e-").tempdir().expect("a folder can be made");
        node::image::write_stand_ins(&folder.path().join("data/images")).expect("images can be made");
        let name = format!("e{}x{number}", std::process::id());
        Self { name, folder, port: free_port(), process: Mutex::new(None) }
    }

    /// The cluster that tests share while they run at the same time; each works in a namespace of its own.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = shared.upgrade() {
            return cluster;
        }
        let cluster = Arc::new(Self::new());
        cluster.start();
        *shared = Arc::downgrade(&cluster);
        cluster
    }

    /// The command that starts it.
    pub(crate) fn up(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        // Tests reach nothing beyond this machine.
        command.args(["up", "--sandbox", "3", "--offline", "--name", &self.name]);
        command.args(["--bind", &format!("127.0.0.1:{}", self.port)]);
        command.arg("--data-dir").arg(self.data_dir());
        command
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(&self) {
        let log = self.folder.path().join("log");
        let started = start_ready(&mut self.up(), &log);
        let (process, _) = started.unwrap_or_else(|log| panic!("the cluster does not start:\n{log}"));
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
    }

    /// Ends its process as a crash would, or gently.
    pub(crate) fn end(&self, signal: rustix::process::Signal) {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut process) = process {
            let pid = rustix::process::Pid::from_child(&process.0);
            rustix::process::kill_process(pid, signal).expect("our own child can be signalled");
            process.0.wait().expect("our own child can be waited for");
        }
    }

    /// Removes every trace of it.
    pub(crate) fn down(&self) -> Said {
        let mut command = Command::new(PROGRAM);
        command.args(["down", "--name", &self.name]).arg("--data-dir").arg(self.data_dir());
        let said = run(&mut command);
        self.process.lock().unwrap_or_else(PoisonError::into_inner).take();
        said
    }

    /// The last lines of what it has logged.
    fn end_of_log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// kubectl for this cluster.
    pub(crate) fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.env("KUBECONFIG", self.data_dir().join("kubeconfig"));
        command.env("HOME", self.folder.path()).args(arguments);
        command
    }

    /// Runs kubectl.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Said {
        run(&mut self.kubectl_command(arguments))
    }

    /// A namespace of the cluster for one test.
    pub(crate) fn space(self: &Arc<Self>, name: &str) -> Space {
        self.kubectl(&["create", "namespace", name]).good();
        Space { cluster: self.clone(), name: name.to_owned() }
    }

    /// Runs a command on a machine of the cluster: `node1`, `client`.
    pub(crate) fn on(&self, machine: &str, arguments: &[&str]) -> Said {
        let name = format!("{}-{machine}", self.name);
        run(Command::new("ip").args(["netns", "exec", &name]).args(arguments))
    }

    /// Asks for a page from a machine of the cluster.
    pub(crate) fn curl(&self, machine: &str, url: &str) -> Said {
        self.on(machine, &["curl", "-sS", "--max-time", "5", url])
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(status) = process.as_mut().and_then(|process| process.0.try_wait().ok().flatten()) {
            eprintln!("the cluster {} has ended by itself ({status}):\n{}", self.name, self.end_of_log());
        }
        drop(process);
        let said = self.down();
        if !said.ok {
            eprintln!("the test's cluster could not be removed: {}", said.err);
        }
    }
}

/// One test's namespace in a cluster.
pub(crate) struct Space {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) name: String,
}

impl Space {
    /// Runs kubectl in the namespace.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Said {
        let mut all = vec!["-n", &self.name];
        all.extend_from_slice(arguments);
        self.cluster.kubectl(&all)
    }

    /// Applies text as `kubectl apply -f -` does.
    pub(crate) fn apply(&self, manifest: &str) -> Said {
        let file = tempfile::NamedTempFile::new_in(self.cluster.folder.path()).expect("a file can be made");
        std::fs::write(file.path(), manifest).expect("a file can be written");
        self.kubectl(&["apply", "-f", &file.path().to_string_lossy()])
    }

    /// Applies one of the tutorial's manifests.
    #[track_caller]
    pub(crate) fn apply_example(&self, name: &str) -> String {
        self.kubectl(&["apply", "-f", &example(name)]).good()
    }

    /// A value of an object, by a JSONPath.
    #[track_caller]
    pub(crate) fn value(&self, object: &str, path: &str) -> String {
        self.kubectl(&["get", object, "-o", &format!("jsonpath={{{path}}}")]).good()
    }

    /// The tutorial's Deployment with so many pods, all ready.
    #[track_caller]
    pub(crate) fn deploy(&self, replicas: usize) {
        self.apply_example("httpd-deployment.yaml");
        if replicas != 4 {
            self.kubectl(&["scale", "deployment", "httpd", &format!("--replicas={replicas}")]).good();
        }
        self.wait_for_rollout();
    }

    #[track_caller]
    pub(crate) fn wait_for_rollout(&self) {
        let said = self.kubectl(&["rollout", "status", "deployment/httpd", "--timeout=60s"]);
        assert!(said.ok, "{}\n{}", said.err, self.trouble());
    }

    /// What tells why pods do not come: themselves, their Events, and the end of the cluster's log.
    fn trouble(&self) -> String {
        let pods = self.kubectl(&["get", "pods", "-o", "wide"]).out;
        let nodes = self.kubectl(&["describe", "nodes"]).out;
        let events = self.kubectl(&["get", "events"]).out;
        format!("{pods}\n{nodes}\n{events}\n{}", self.cluster.end_of_log())
    }

    /// The addresses behind a Service, as its slices show them ready.
    pub(crate) fn endpoints(&self, service: &str) -> Vec<String> {
        let path = "jsonpath={range .items[*].endpoints[?(@.conditions.ready==true)]}{.addresses[0]} {end}";
        let label = format!("kubernetes.io/service-name={service}");
        let said = self.kubectl(&["get", "endpointslices", "-l", &label, "-o", path]);
        let mut addresses: Vec<String> = said.out.split_whitespace().map(str::to_owned).collect();
        addresses.sort();
        addresses
    }

    /// Waits until a Service has so many ready endpoints.
    #[track_caller]
    pub(crate) fn wait_for_endpoints(&self, service: &str, count: usize) -> Vec<String> {
        eventually(&format!("{service} has {count} endpoints"), || {
            let endpoints = self.endpoints(service);
            if endpoints.len() == count { Ok(endpoints) } else { Err(format!("{endpoints:?}")) }
        })
    }

    /// A pod that stays, to run commands in.
    #[track_caller]
    pub(crate) fn shell(&self) -> String {
        self.kubectl(&["run", "shell", "--image=busybox", "--restart=Never", "--", "sleep", "3600"]).good();
        self.kubectl(&["wait", "pod/shell", "--for=condition=Ready", "--timeout=60s"]).good();
        "shell".to_owned()
    }

    /// Runs a shell command in a pod.
    pub(crate) fn exec(&self, pod: &str, command: &str) -> Said {
        self.kubectl(&["exec", pod, "--", "sh", "-c", command])
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.cluster.kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}

/// The path of one of the tutorial's manifests.
pub(crate) fn example(name: &str) -> String {
    format!("{}/../../examples/tutorial/{name}", env!("CARGO_MANIFEST_DIR"))
}

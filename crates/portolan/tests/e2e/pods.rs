//! What kubectl does with single pods: shells, commands, logs, files, forwarded ports.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use crate::harness::{Cluster, Process, Space, eventually, free_port, may_run};

#[test]
fn a_shell_can_be_run_interactively_and_is_removed_afterwards() {
    if !may_run("shell") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("shell");
    // `script` gives kubectl a terminal, as a user has one.
    let kubectl = cluster.kubectl_command(&[]);
    let line = "kubectl -n shell run -it --rm busybox --image=busybox --restart=Never -- sh";
    let mut script = std::process::Command::new("script");
    script.args(["-qec", line, "/dev/null"]).envs(kubectl.get_envs().filter_map(|(k, v)| Some((k, v?))));
    let child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut process = Process(child.expect("script can be started"));
    let mut input = process.0.stdin.take().expect("there is an input");
    space.kubectl(&["wait", "pod/busybox", "--for=condition=Ready", "--timeout=60s"]);
    eventually("the pod runs", || {
        let phase = space.kubectl(&["get", "pod", "busybox", "-o", "jsonpath={.status.phase}"]);
        if phase.out == "Running" { Ok(()) } else { Err(phase.out + &phase.err) }
    });
    input.write_all(b"echo terminal $((40 + 2)); tty; exit\n").expect("the shell reads");
    let mut output = String::new();
    process.0.stdout.take().expect("there is an output").read_to_string(&mut output).expect("text");
    assert!(output.contains("terminal 42"), "{output}");
    assert!(output.contains("/dev/"), "the shell has a terminal: {output}");
    assert!(output.contains("pod \"busybox\" deleted"), "{output}");
    assert!(!space.kubectl(&["get", "pod", "busybox"]).ok);
}

#[test]
fn commands_files_and_logs_of_a_running_pod() {
    if !may_run("exec") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("exec");
    let pod = space.shell();
    assert_eq!(space.exec(&pod, "hostname").good(), "shell");
    let failed = space.exec(&pod, "exit 7").bad();
    assert!(failed.contains("exit code 7"), "{failed}");
    let local = cluster.folder.path().join("copied");
    std::fs::write(&local, "carried over").expect("a file can be written");
    space.kubectl(&["cp", &local.to_string_lossy(), "shell:/tmp/copied"]).good();
    assert_eq!(space.exec(&pod, "cat /tmp/copied").good(), "carried over");
    let back = cluster.folder.path().join("back");
    space.kubectl(&["cp", "shell:/tmp/copied", &back.to_string_lossy()]).good();
    assert_eq!(std::fs::read_to_string(&back).expect("the file is there"), "carried over");

    let counting = "for n in 1 2 3; do echo line $n; sleep 0.2; done";
    space
        .kubectl(&["run", "counter", "--image=busybox", "--restart=Never", "--", "sh", "-c", counting])
        .good();
    space.kubectl(&["wait", "pod/counter", "--for=condition=PodReadyToStartContainers", "--timeout=60s"]);
    eventually("the log can be followed to its end", || {
        let said = space.kubectl(&["logs", "-f", "counter"]);
        if said.out == "line 1\nline 2\nline 3" { Ok(()) } else { Err(said.out + &said.err) }
    });
    assert_eq!(space.kubectl(&["logs", "counter", "--tail=1"]).good(), "line 3");
    eventually("the pod has completed", || {
        let row = space.kubectl(&["get", "pod", "counter", "--no-headers"]).good();
        if row.contains("Completed") { Ok(()) } else { Err(row) }
    });
}

#[test]
fn attach_joins_the_running_process() {
    if !may_run("attach") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("attach");
    let echo = "while read line; do echo heard $line; [ \"$line\" = end ] && exit 0; done";
    space
        .kubectl(&[
            "run",
            "parrot",
            "--image=busybox",
            "--restart=Never",
            "-i",
            "--attach=false",
            "--",
            "sh",
            "-c",
            echo,
        ])
        .good();
    space.kubectl(&["wait", "pod/parrot", "--for=condition=Ready", "--timeout=60s"]).good();
    let mut command = cluster.kubectl_command(&["-n", "attach", "attach", "-i", "parrot"]);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut process = Process(child.expect("kubectl can be started"));
    process.0.stdin.take().expect("there is an input").write_all(b"hello\nend\n").expect("it reads");
    let mut output = String::new();
    process.0.stdout.take().expect("there is an output").read_to_string(&mut output).expect("text");
    assert!(output.contains("heard hello") && output.contains("heard end"), "{output}");
}

#[test]
fn a_forwarded_port_leads_to_the_pod() {
    if !may_run("forward") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("forward");
    space.deploy(1);
    space.apply_example("httpd-service.yaml");
    space.wait_for_endpoints("httpd-svc", 1);
    for target in ["deployment/httpd", "service/httpd-svc"] {
        let port = free_port();
        let remote = if target.starts_with("service") { 8080 } else { 80 };
        let mut command =
            cluster.kubectl_command(&["-n", "forward", "port-forward", target, &format!("{port}:{remote}")]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let _process = Process(child.expect("kubectl can be started"));
        eventually(&format!("{target} answers through the forwarded port"), || {
            let fetch = || {
                let mut stream = TcpStream::connect(("127.0.0.1", port))?;
                stream.set_read_timeout(Some(Duration::from_secs(5)))?;
                stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
                let mut page = String::new();
                stream.read_to_string(&mut page)?;
                Ok::<_, std::io::Error>(page)
            };
            match fetch() {
                Ok(page) if page.contains("It works!") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
}

/// kubectl, forwarding a free port to this one of a pod. It runs until it is dropped, or a connection fails.
fn forward(space: &Space, pod: &str, remote: u16) -> (Process, u16) {
    let port = free_port();
    let ports = format!("{port}:{remote}");
    let mut command = space.cluster.kubectl_command(&["-n", &space.name, "port-forward", pod, &ports]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut process = Process(child.expect("kubectl can be started"));
    let mut line = String::new();
    let output = process.0.stdout.as_mut().expect("there is an output");
    BufReader::new(output).read_line(&mut line).expect("kubectl says something");
    assert!(line.starts_with("Forwarding from 127.0.0.1"), "{line}");
    (process, port)
}

#[test]
fn who_has_said_everything_still_hears_the_whole_answer_through_a_forwarded_port() {
    if !may_run("half-closed") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("half-closed");
    // It answers once the question is at its end, slowly, and with more than any buffer on the way holds.
    let answer = "n=$(wc -c); sleep 0.5; echo heard $n; head -c 3000000 /dev/zero; sleep 0.2; echo end";
    let serve = format!("while :; do nc -l -p 7000 -e sh -c '{answer}'; done");
    for (pod, host_network, port) in [("own", "false", 7000), ("host", "true", 7001)] {
        let serve = serve.replace("7000", &port.to_string());
        let overrides = format!(r#"{{"spec":{{"hostNetwork":{host_network}}}}}"#);
        let run = ["run", pod, "--image=busybox", "--restart=Never", "--overrides", &overrides];
        space.kubectl(&[&run[..], &["--", "sh", "-c", &serve]].concat()).good();
        space.kubectl(&["wait", &format!("pod/{pod}"), "--for=condition=Ready", "--timeout=60s"]).good();
        let question = "x".repeat(200_000);
        eventually("the whole answer comes", || {
            let (_kubectl, local) = forward(&space, pod, port);
            let ask = || {
                let mut stream = TcpStream::connect(("127.0.0.1", local))?;
                stream.set_read_timeout(Some(Duration::from_secs(10)))?;
                stream.write_all(question.as_bytes())?;
                stream.shutdown(std::net::Shutdown::Write)?;
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer)?;
                Ok::<_, std::io::Error>(answer)
            };
            let heard = ask().map_err(|error| error.to_string())?;
            let whole = heard.starts_with(b"heard 200000\n")
                && heard.ends_with(b"end\n")
                && heard.len() == "heard 200000\n".len() + 3_000_000 + "end\n".len();
            if whole { Ok(()) } else { Err(format!("{} bytes", heard.len())) }
        });
    }
}

#[test]
fn a_forwarded_port_that_nothing_listens_on_is_told() {
    if !may_run("closed") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("closed");
    let pod = space.shell();
    let (mut kubectl, local) = forward(&space, &pod, 81);
    let _connection = TcpStream::connect(("127.0.0.1", local)).expect("kubectl listens");
    let mut said = String::new();
    let mut errors = kubectl.0.stderr.take().expect("there are errors");
    let mut buffer = [0; 1024];
    while !said.contains("connection refused") && !said.contains("Connection refused") {
        let count = errors.read(&mut buffer).expect("it can be read");
        assert!(count > 0, "kubectl ended: {said}");
        said.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    assert!(said.contains("error forwarding port 81 to pod shell_closed, uid "), "{said}");
}

#[test]
fn a_pod_that_is_not_ready_is_no_endpoint() {
    if !may_run("readiness") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("readiness");
    let pod = r#"
apiVersion: v1
kind: Pod
metadata:
  name: slow
  labels: {app: httpd}
spec:
  containers:
    - name: web
      image: httpd
      readinessProbe:
        exec: {command: [cat, /tmp/ready]}
        periodSeconds: 1
"#;
    space.apply(pod).good();
    space.apply_example("httpd-service.yaml");
    eventually("the pod runs", || {
        let row = space.kubectl(&["get", "pod", "slow", "--no-headers"]).good();
        if row.contains("Running") { Ok(()) } else { Err(row) }
    });
    assert!(space.endpoints("httpd-svc").is_empty());
    space.exec("slow", "touch /tmp/ready").good();
    space.wait_for_endpoints("httpd-svc", 1);
    space.exec("slow", "rm /tmp/ready").good();
    space.wait_for_endpoints("httpd-svc", 0);
}

#[test]
fn a_pod_that_fits_nowhere_waits_and_says_why() {
    if !may_run("fit") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("fit");
    let pod = r#"
apiVersion: v1
kind: Pod
metadata: {name: huge}
spec:
  containers:
    - name: c
      image: busybox
      resources: {requests: {cpu: "4000"}}
"#;
    space.apply(pod).good();
    eventually("the pod is told why it waits", || {
        let message = space.value("pod/huge", ".status.conditions[?(@.type=='PodScheduled')].message");
        if message == "0/3 nodes are available: 3 Insufficient cpu." { Ok(()) } else { Err(message) }
    });
    let row = space.kubectl(&["get", "pod", "huge", "--no-headers"]).good();
    assert!(row.contains("Pending"), "{row}");
}

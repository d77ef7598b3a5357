//! Pods and the objects that they are made from: ConfigMaps, Secrets, images.

use crate::harness::{Cluster, eventually, may_run};

const READER: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: reader, labels: {colour: red}}
spec:
  securityContext: {runAsUser: 1000, fsGroup: 3000}
  containers:
    - name: c
      image: busybox
      command: [sleep, "3600"]
      volumeMounts:
        - {name: map, mountPath: /map}
        - {name: secret, mountPath: /secret}
        - {name: labels, mountPath: /labels}
        - {name: map, mountPath: /one, subPath: a}
  volumes:
    - {name: map, configMap: {name: settings}}
    - {name: secret, secret: {secretName: password, defaultMode: 0400}}
    - {name: labels, downwardAPI: {items: [{path: all, fieldRef: {fieldPath: metadata.labels}}]}}
"#;

#[test]
fn volumes_follow_their_objects_while_the_pod_runs() {
    if !may_run("objects") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("objects");
    space.apply(READER).good();
    eventually("the pod says what it waits for", || {
        let said = space.kubectl(&["get", "events", "--field-selector=reason=FailedMount"]);
        if said.out.contains("configmap \"settings\" not found") { Ok(()) } else { Err(said.out) }
    });
    space.kubectl(&["create", "secret", "generic", "password", "--from-literal=word=open"]).good();
    space.kubectl(&["create", "configmap", "settings", "--from-literal=a=1", "--from-literal=b=2"]).good();
    space.kubectl(&["wait", "pod/reader", "--for=condition=Ready", "--timeout=5s"]).good();
    let show = "cat /map/a /secret/word /labels/all /one";
    assert_eq!(space.exec("reader", show).good(), "1opencolour=\"red\"1");

    space.kubectl(&["patch", "configmap", "settings", "-p", r#"{"data":{"a":"3","b":null,"c":"4"}}"#]).good();
    space.kubectl(&["label", "pod", "reader", "--overwrite", "colour=blue"]).good();
    eventually("the volumes have followed", || {
        let said = space.exec("reader", &format!("{show}; ls /map"));
        // What is mounted by subPath stays, as with Kubernetes.
        if said.out == "3opencolour=\"blue\"1a\nc" { Ok(()) } else { Err(said.out + &said.err) }
    });
    space.kubectl(&["delete", "configmap", "settings"]).good();
    assert_eq!(space.exec("reader", "cat /map/c").good(), "4", "a volume outlives its object");
}

#[test]
fn probes_restart_what_fails_and_let_live_what_answers() {
    if !may_run("probes") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("probes");
    let pods = r#"
apiVersion: v1
kind: Pod
metadata: {name: answers}
spec:
  containers:
    - name: web
      image: httpd
      ports: [{name: http, containerPort: 80}]
      startupProbe: {httpGet: {path: /, port: http}, periodSeconds: 1, failureThreshold: 5}
      livenessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1, failureThreshold: 1}
      readinessProbe: {tcpSocket: {port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: fails}
spec:
  containers:
    - name: c
      image: busybox
      command: [sleep, "3600"]
      livenessProbe:
        exec: {command: [cat, /tmp/alive]}
        periodSeconds: 1
        failureThreshold: 2
        terminationGracePeriodSeconds: 1
"#;
    space.apply(pods).good();
    eventually("the failing container is restarted", || {
        let count = space.value("pod/fails", ".status.containerStatuses[0].restartCount");
        if count.parse().unwrap_or(0) > 0 { Ok(()) } else { Err(count) }
    });
    let events = space.kubectl(&["get", "events", "--field-selector=involvedObject.name=fails"]).good();
    assert!(events.contains("Container c failed liveness probe, will be restarted"), "{events}");
    assert!(!events.contains("Stopping container c"), "{events}");
    assert_eq!(space.value("pod/answers", ".status.containerStatuses[0].restartCount"), "0");
    assert_eq!(space.value("pod/answers", ".status.containerStatuses[0].ready"), "true");
}

#[test]
fn an_image_or_a_command_that_does_not_exist_is_told_soon_and_clearly() {
    if !may_run("wrong") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("wrong");
    space.kubectl(&["run", "image", "--image=registry.example/none:1"]).good();
    space
        .kubectl(&["run", "command", "--image=busybox", "--restart=Never", "--command", "--", "/none"])
        .good();
    eventually("the image cannot be pulled", || {
        let state = space.value("pod/image", ".status.containerStatuses[0].state.waiting");
        let is_clear = state.contains("ErrImagePull") && state.contains("started with --offline");
        if is_clear { Ok(()) } else { Err(state) }
    });
    let said = space.kubectl(&["logs", "image"]).bad();
    assert!(said.contains("is waiting to start: image can't be pulled"), "{said}");
    let last_words = "echo no disk > /dev/termination-log; exit 9";
    space
        .kubectl(&["run", "words", "--image=busybox", "--restart=Never", "--", "sh", "-c", last_words])
        .good();
    eventually("what the container said of its end is in its status", || {
        let state = space.value("pod/words", ".status.containerStatuses[0].state.terminated");
        if state.contains(r#""message":"no disk\n""#) { Ok(()) } else { Err(state) }
    });
    eventually("the command cannot be run", || {
        let state = space.value("pod/command", ".status.containerStatuses[0].state.terminated");
        let is_clear = state.contains("StartError") && state.contains("stat /none: no such file");
        if is_clear { Ok(()) } else { Err(state) }
    });
}

#[test]
fn a_new_image_replaces_the_container_in_its_pod() {
    if !may_run("image") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("image");
    space
        .kubectl(&["run", "p", "--image=busybox", "--", "sh", "-c", "trap exit TERM; sleep 3600 & wait"])
        .good();
    space.kubectl(&["wait", "pod/p", "--for=condition=Ready", "--timeout=30s"]).good();
    let ip = space.value("pod/p", ".status.podIP");
    space.kubectl(&["set", "image", "pod/p", "p=httpd"]).good();
    eventually("the container runs the new image", || {
        let image = space.value("pod/p", ".status.containerStatuses[0].image");
        if image.contains("httpd") { Ok(()) } else { Err(image) }
    });
    assert_eq!(space.value("pod/p", ".status.podIP"), ip);
    assert_eq!(space.value("pod/p", ".status.containerStatuses[0].restartCount"), "1");
}

//! What the demo does, as a user would type it. `NAME` stands for the cluster's name.

/// One step of the tutorial.
pub(super) struct Step {
    pub(super) title: &'static str,
    pub(super) commands: &'static [&'static str],
    /// Whether its last command is the first to be answered through a ClusterIP.
    pub(super) first_answer: bool,
}

macro_rules! manifests {
    ($($name:literal),* $(,)?) => {
        &[$((concat!("examples/tutorial/", $name), include_str!(concat!("../../../../../examples/tutorial/", $name)))),*]
    };
}

/// The manifests, under the paths that the commands use.
pub(super) const MANIFESTS: &[(&str, &str)] = manifests![
    "httpd-deployment.yaml",
    "httpd-service.yaml",
    "httpd-nodeport.yaml",
    "httpd-headless.yaml",
    "external-name.yaml",
    "external-service.yaml",
];

const fn step(title: &'static str, commands: &'static [&'static str]) -> Step {
    Step { title, commands, first_answer: false }
}

/// The tutorial.
pub(super) const STEPS: &[Step] = &[
    step(
        "A Deployment: four pods, each with an address of its own",
        &[
            "kubectl apply -f examples/tutorial/httpd-deployment.yaml",
            "kubectl wait deployment/httpd --for=condition=Available --timeout=60s",
            "kubectl rollout status deployment/httpd --timeout=60s",
            "kubectl get pod -o wide",
            "for ip in $(kubectl get pod -l app=httpd -o jsonpath='{.items[*].status.podIP}'); do ip netns exec NAME-node1 curl -sS --max-time 5 http://$ip; done",
        ],
    ),
    Step {
        title: "A Service: one address in front of the four",
        commands: &[
            "kubectl apply -f examples/tutorial/httpd-service.yaml",
            "ip netns exec NAME-node1 curl -sS --max-time 5 --retry 20 --retry-delay 0 --retry-all-errors http://$(kubectl get svc httpd-svc -o jsonpath='{.spec.clusterIP}'):8080",
        ],
        first_answer: true,
    },
    step(
        "Who stands behind it",
        &[
            "kubectl get svc",
            "kubectl get endpoints httpd-svc",
            "kubectl get endpointslices -l kubernetes.io/service-name=httpd-svc",
            "kubectl describe svc httpd-svc",
            "ip=$(kubectl get svc httpd-svc -o jsonpath='{.spec.clusterIP}'); for n in $(seq 200); do ip netns exec NAME-node1 curl -sS --max-time 5 -o /dev/null http://$ip:8080; done; for pod in $(kubectl get pod -l app=httpd -o name); do echo \"$pod answered $(kubectl logs $pod | grep -c 'url:') requests\"; done",
        ],
    ),
    step(
        "A NodePort: reached from outside the cluster, at every node",
        &[
            "kubectl apply -f examples/tutorial/httpd-nodeport.yaml",
            "kubectl get svc httpd-svc",
            "for ip in $(kubectl get node -o jsonpath='{.items[*].status.addresses[0].address}'); do ip netns exec NAME-client curl -sS --max-time 5 http://$ip:31688; done",
        ],
    ),
    step(
        "Names: from a pod, in its own namespace and from another one",
        &[
            "echo 'wget -qO- httpd-svc:8080' | kubectl run -i --rm busybox --image=busybox --restart=Never -- sh",
            "kubectl create namespace other",
            "echo 'wget -qO- httpd-svc.default:8080; cat /etc/resolv.conf' | kubectl -n other run -i --rm busybox --image=busybox --restart=Never -- sh",
            "kubectl exec deploy/httpd -- hostname -i",
            "kubectl logs deploy/httpd --tail=2",
        ],
    ),
    step(
        "Pods come and go: the Service stays",
        &[
            "kubectl delete $(kubectl get pod -l app=httpd -o name | head -1)",
            "kubectl exec $(kubectl get pod -l app=httpd -o name | tail -1) -- kill 1 || echo 'the command ended with its container'",
            "kubectl rollout status deployment/httpd --timeout=60s",
            "kubectl get pod -o wide",
            "kubectl get endpoints httpd-svc",
        ],
    ),
    step(
        "More of them, none of them, and back",
        &[
            "kubectl scale deployment httpd --replicas=8",
            "kubectl rollout status deployment/httpd --timeout=60s",
            "kubectl get endpointslices -l kubernetes.io/service-name=httpd-svc",
            "kubectl scale deployment httpd --replicas=0",
            "kubectl wait pod -l app=httpd --for=delete --timeout=60s",
            "! ip netns exec NAME-node1 curl -sS --max-time 5 http://$(kubectl get svc httpd-svc -o jsonpath='{.spec.clusterIP}'):8080",
            "kubectl scale deployment httpd --replicas=4",
            "kubectl rollout status deployment/httpd --timeout=60s",
        ],
    ),
    step(
        "A Service without selector: hand-made Endpoints lead to a server that is no pod",
        &[
            "kubectl apply -f examples/tutorial/external-service.yaml",
            "kubectl get endpoints external-web",
            "kubectl get endpointslices -l kubernetes.io/service-name=external-web",
            r"printf 'HTTP/1.0 200 OK\r\n\r\nHello from outside the cluster\n' | ip netns exec NAME-client busybox nc -l -p 9376 >/dev/null & sleep 0.3; ip netns exec NAME-node1 curl -sS --max-time 5 http://$(kubectl get svc external-web -o jsonpath='{.spec.clusterIP}')",
        ],
    ),
    step(
        "Headless and ExternalName: Services that are names only",
        &[
            "kubectl apply -f examples/tutorial/httpd-headless.yaml -f examples/tutorial/external-name.yaml",
            "kubectl get svc",
            "echo 'nslookup -type=a httpd-headless.default.svc.cluster.local; nslookup -type=cname partner.default.svc.cluster.local' | kubectl run -i --rm busybox --image=busybox --restart=Never -- sh",
        ],
    ),
    step(
        "Addresses of one's choice, and what is refused",
        &[
            "kubectl create service clusterip mine --clusterip=10.96.0.50 --tcp=80",
            "! kubectl create service clusterip yours --clusterip=10.96.0.50 --tcp=80",
            "! kubectl create service clusterip far --clusterip=10.10.0.1 --tcp=80",
            "! kubectl create service nodeport taken --node-port=31688 --tcp=80",
        ],
    ),
];

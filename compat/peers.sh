#!/bin/sh
# Builds etcd, kube-apiserver, kube-proxy and CoreDNS from the Go module proxy, once.   usage: peers.sh DIRECTORY
set -eu

KUBERNETES=36.3
ETCD=3.6.8
COREDNS=1.15.0
STAGING="api apiextensions-apiserver apimachinery apiserver cli-runtime client-go cloud-provider cluster-bootstrap
code-generator component-base component-helpers controller-manager cri-api cri-client cri-streaming
csi-translation-lib dynamic-resource-allocation endpointslice externaljwt kms kube-aggregator
kube-controller-manager kube-proxy kube-scheduler kubectl kubelet metrics mount-utils pod-security-admission
sample-apiserver sample-cli-plugin sample-controller streaming"

command -v go >/dev/null || { echo "compat: Go builds the peers; install it (https://go.dev/doc/install)" >&2; exit 1; }
bin=$(mkdir -p "$1" && cd "$1" && pwd)

module() { # DIRECTORY NAME REQUIREMENT
    mkdir -p "$bin/source/$1"
    cd "$bin/source/$1"
    [ -f go.mod ] || printf 'module peers\ngo 1.26\nrequire %s %s\n' "$2" "$3" >go.mod
}

kubernetes() { # PROGRAM
    [ -x "$bin/$1" ] && return
    module kubernetes k8s.io/kubernetes "v1.$KUBERNETES"
    grep -q '^replace' go.mod || for name in $STAGING; do
        echo "replace k8s.io/$name => k8s.io/$name v0.$KUBERNETES" >>go.mod
    done
    echo "building $1 (some minutes)"
    go build -mod=mod -o "$bin/$1" "k8s.io/kubernetes/cmd/$1"
}

kubernetes kube-proxy
kubernetes kube-apiserver
if [ ! -x "$bin/etcd" ]; then
    module etcd go.etcd.io/etcd/server/v3 "v$ETCD"
    echo "building etcd"
    go build -mod=mod -o "$bin/etcd" go.etcd.io/etcd/server/v3
fi
if [ ! -x "$bin/coredns" ]; then
    echo "building coredns"
    GOBIN="$bin" go install "github.com/coredns/coredns@v$COREDNS"
fi

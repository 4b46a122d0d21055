#!/usr/bin/env bash
# A kind cluster without kind's own network, a plain one instead, and podgate on it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. hack/kind/session.sh

main() {
    parse_options "$@"
    need kind kubectl docker "$PYTHON"
    local image
    image=localhost/podgate:$(version)

    heading "The cluster: nodes without a pod network"
    step_line "$(configuration_line)"
    heading "The iptables of every node: $BACKEND, and none of the hints that kubelet left in the other"
    each_node choose_backend
    cluster --namespace kube-system rollout restart daemonset/kube-proxy

    heading "The pod network: links, addresses and routes, and nothing that enforces"
    # kind returns when the nodes are there; their ranges come from the controller manager, a moment later.
    each_node await_range
    each_node wire
    cluster wait --for=condition=Ready nodes --all --timeout=180s
    cluster --namespace kube-system rollout status deployment/coredns --timeout=180s

    heading "The image, into the nodes"
    step docker build --tag "$image" .
    step kind load docker-image --name "$NAME" "$image"

    heading "podgate"
    cluster apply --kustomize manifests/overlays/kind
    cluster --namespace "$SYSTEM" rollout status deployment/podgate-operator --timeout=180s
    cluster --namespace "$SYSTEM" rollout status daemonset/podgate-agent --timeout=180s
    cluster get nodepolicies
}

configuration_line() {
    local number
    cat <<TEXT
kind create cluster --name $NAME --config - <<'CONFIG'
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking:
  ipFamily: $FAMILY
  disableDefaultCNI: true
  kubeProxyMode: iptables
nodes:
  - role: control-plane
TEXT
    for ((number = 1; number <= WORKERS; number++)); do
        echo "  - role: worker"
    done
    echo CONFIG
}

each_node() {
    local node
    for node in $(nodes); do
        "$1" "$node"
    done
}

await_range() {
    cluster wait --for="jsonpath={.spec.podCIDR}" "node/$1" --timeout=60s
}

wire() {
    step_line "$(kubectl_args) get nodes --output json | $PYTHON hack/kind/wiring.py $1 | docker exec --interactive $1 sh"
}

choose_backend() {
    step_line "docker exec --interactive $1 sh -s $BACKEND < hack/kind/backend.sh"
}

main "$@"

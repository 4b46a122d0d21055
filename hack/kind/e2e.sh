#!/usr/bin/env bash
# A policy comes, holds while agents are replaced, and goes; then podgate goes and leaves nothing. After up.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. hack/kind/session.sh

readonly SPACE=podgate-e2e

main() {
    parse_options "$@"
    need kubectl docker

    heading "A server and two clients: everybody reaches everybody"
    cluster apply --kustomize hack/kind/e2e
    cluster --namespace "$SPACE" wait --for=condition=Ready pod --all --timeout=120s
    probe friend open
    probe stranger open

    heading "With a policy, friends only"
    cluster apply --filename hack/kind/e2e/policy.yaml
    probe stranger closed
    probe friend open

    heading "Also while every agent is replaced"
    cluster --namespace "$SYSTEM" rollout restart daemonset/podgate-agent
    probe stranger closed
    cluster --namespace "$SYSTEM" rollout status daemonset/podgate-agent --timeout=180s
    probe stranger closed
    probe friend open

    heading "Without it, everybody again"
    cluster delete --filename hack/kind/e2e/policy.yaml
    probe stranger open

    heading "Uninstalled, as docs/install.md says, nothing is left on any node"
    cluster --namespace "$SYSTEM" delete daemonset/podgate-agent
    cluster --namespace "$SYSTEM" wait --for=delete pod --selector app.kubernetes.io/component=agent --timeout=60s
    cluster apply --kustomize manifests/cleanup
    cluster --namespace "$SYSTEM" rollout status daemonset/podgate-cleanup --timeout=120s
    cluster delete --kustomize manifests/cleanup --ignore-not-found
    cluster delete --kustomize manifests/overlays/kind --ignore-not-found
    local node
    for node in $(nodes); do
        step_line "left=\$(docker exec --interactive $node sh < hack/kind/left.sh); [[ -z \$left ]]"
    done
    cluster delete --kustomize hack/kind/e2e

    heading "All as it should be"
}

probe() {
    step hack/kind/probe.sh "kind-$NAME" "$SPACE" "$1" web 8080 "$2"
}

main "$@"

#!/usr/bin/env bash
# Ask until the answer is the expected one: does a pod reach another, on each of its addresses?
#
#   hack/kind/probe.sh CONTEXT NAMESPACE CLIENT SERVER PORT open|closed
#
# Exits 1 when the answer is still another after 60 seconds.
set -euo pipefail

readonly CONTEXT=$1 NAMESPACE=$2 CLIENT=$3 SERVER=$4 PORT=$5 EXPECTED=$6
readonly PATIENCE=${PATIENCE:-60}
readonly CONNECT="
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2).close()
except OSError:
    print('closed')
else:
    print('open')
"

kubernetes() {
    kubectl --context "$CONTEXT" --namespace "$NAMESPACE" "$@"
}

answer() {
    kubernetes exec "$CLIENT" -- /opt/podgate/bin/python3 -c "$CONNECT" "$1" "$PORT"
}

main() {
    local addresses address found
    addresses=$(kubernetes get pod "$SERVER" --output 'jsonpath={.status.podIPs[*].ip}')
    [[ -n $addresses ]] || { echo "probe: pod $SERVER has no address" >&2 && exit 1; }
    for address in $addresses; do
        found=
        for ((SECONDS = 0; SECONDS <= PATIENCE; )); do
            found=$(answer "$address")
            [[ $found != "$EXPECTED" ]] || break
        done
        if [[ $found != "$EXPECTED" ]]; then
            echo "probe: $CLIENT to $SERVER ($address) $PORT is $found after ${PATIENCE} s, not $EXPECTED" >&2
            exit 1
        fi
        echo "$CLIENT to $SERVER ($address) $PORT: $found"
    done
}

main

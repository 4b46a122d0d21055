#!/usr/bin/env bash
# The end of what up.sh made.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. hack/kind/session.sh

parse_options "$@"
need kind
heading "The cluster goes, and all that is in it"
step kind delete cluster --name "$NAME"

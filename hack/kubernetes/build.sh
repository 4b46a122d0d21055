#!/usr/bin/env bash
# etcd and kube-apiserver, built from their Go modules, for a lab with a real API server.
#
# For machines that cannot fetch release binaries (`setup-envtest use` does that) but have Go and a module
# proxy. Go modules of k8s.io/kubernetes lack the staging modules that its go.mod points to, so a module of
# our own requires all of them at the same version. Prints the folder, as KUBEBUILDER_ASSETS wants it; what is
# there already is not built again. Further programs are arguments: hack/kubernetes/build.sh kube-controller-manager
set -euo pipefail

KUBERNETES=${KUBERNETES_VERSION:-v1.34.4}
ETCD=${ETCD_VERSION:-v3.6.13}
CACHE=${PODGATE_ASSETS:-${XDG_CACHE_HOME:-$HOME/.cache}/podgate/assets}
PARALLEL=${PARALLEL:-2}

say() { echo "$*" >&2; }

command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
command -v go >/dev/null || { say "hack/kubernetes/build.sh needs Go 1.24 or later: https://go.dev/dl"; exit 1; }

assets=$CACHE/$KUBERNETES-etcd-$ETCD
mkdir -p "$assets"
export CGO_ENABLED=0 GOFLAGS=-mod=mod GOWORK=off

# One module for each program: etcd's own dependencies are not those that Kubernetes was tested with.
module() { # FOLDER, then go.mod from the standard input
    mkdir -p "$1"
    cat >"$1/go.mod.new"
    # go adds lines to go.mod: what we wrote is kept beside it, and says whether to begin anew
    if ! cmp -s "$1/go.mod.new" "$1/go.mod.written"; then
        cp "$1/go.mod.new" "$1/go.mod"
        cp "$1/go.mod.new" "$1/go.mod.written"
        rm -f "$1/go.sum"
    fi
    rm "$1/go.mod.new"
}

build() { # FOLDER PACKAGE PROGRAM LDFLAGS
    say "building $3 (minutes the first time)"
    (cd "$1" && nice go build -p "$PARALLEL" -trimpath -ldflags "-s -w $4" -o "$assets/$3.new" "$2")
    mv "$assets/$3.new" "$assets/$3"
}

etcd() {
    local folder=$assets/src/etcd
    module "$folder" <<END
module podgate.dev/assets/etcd

go 1.24.0

require go.etcd.io/etcd/server/v3 $ETCD
END
    cat >"$folder/main.go" <<'END'
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
END
    build "$folder" . etcd ""
}

kubernetes() { # PROGRAM
    local folder=$assets/src/kubernetes version=k8s.io/component-base/version
    local zip staging=${KUBERNETES/#v1/v0}
    zip=$(go mod download -json "k8s.io/kubernetes@$KUBERNETES" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
    {
        echo "module podgate.dev/assets/kubernetes"
        grep -E "^(go|godebug) " "$zip/go.mod"
        echo "require k8s.io/kubernetes $KUBERNETES"
        sed -n "s|^\t\(k8s.io/[a-z-]*\) => ./staging/.*|replace \1 => \1 $staging|p" "$zip/go.mod"
    } | module "$folder"
    printf 'package main\n\nimport _ "k8s.io/kubernetes/cmd/%s/app"\n\nfunc main() {}\n' kube-apiserver >"$folder/main.go"
    # The release's build sets the same; without them the server says v0.0.0-master and refuses old clients.
    build "$folder" "k8s.io/kubernetes/cmd/$1" "$1" "-X $version.gitVersion=$KUBERNETES -X $version.gitMajor=1
        -X $version.gitMinor=$(cut -d. -f2 <<<"$KUBERNETES") -X $version.gitTreeState=clean"
}

for program in etcd kube-apiserver "$@"; do
    [[ -x $assets/$program ]] && continue
    case $program in
        etcd) etcd ;;
        *) kubernetes "$program" ;;
    esac
done
if [[ ! -e $assets/kubectl ]]; then
    if kubectl=$(command -v kubectl); then
        ln -s "$kubectl" "$assets/kubectl"
    else
        kubernetes kubectl
    fi
fi
echo "$assets"

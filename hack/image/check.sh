#!/usr/bin/env bash
# Builds the image and runs it as a node would: read-only root, two capabilities, a network namespace of its own.
#
#   hack/image/check.sh                            on a base made with debootstrap: no registry is asked
#   BASE=docker.io/library/python:3.13-slim-trixie hack/image/check.sh      on the base of the Dockerfile
#   hack/image/check.sh --arch arm64               for another machine, through qemu-user: ten minutes, and no rules
#
# Needs root, on Debian or Ubuntu; installs podman, runc and debootstrap when they are missing. Whatever it makes is in
# build/image, with a storage of its own: the machine's images, rules and sets stay as they are.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly SUITE=${SUITE:-trixie}
readonly FOLDER=$PWD/build/image
readonly IMAGE=localhost/podgate:check
HOST_ARCH=$(dpkg --print-architecture)
readonly HOST_ARCH
readonly CERTIFICATES=/etc/ssl/certs/ca-certificates.crt
readonly NAMESPACE=podgate-image-$$
readonly TOKEN=/var/run/secrets/kubernetes.io/serviceaccount/token
readonly IDENTITY="
import os, re
status = open('/proc/self/status').read()
print(os.getuid(), os.getgid(), *re.findall(r'^(?:CapEff|Seccomp):\s*(\w+)', status, re.M))
"
readonly CONTENTS="
import importlib, os, pkgutil, shutil, stat, sys
import controller
wrong = []
for name in 'cc gcc c++ make perl pip pip3 apt-get su mount bash'.split():
    if shutil.which(name):
        wrong.append(f'there is {name}')
for name in 'pip setuptools ensurepip'.split():
    if importlib.util.find_spec(name):
        wrong.append(f'Python finds {name}')
for folder, folders, files in os.walk('/'):
    if folder == '/':
        folders[:] = [each for each in folders if each not in ('proc', 'sys', 'dev')]
    for path in (os.path.join(folder, each) for each in files):
        mode = os.lstat(path).st_mode
        if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
            wrong.append(f'{path} has setuid or setgid')
for module in pkgutil.walk_packages(controller.__path__, 'controller.'):
    if module.name.rpartition('.')[2] == '__main__':
        continue
    try:
        importlib.import_module(module.name)
    except ImportError as error:
        wrong.append(f'{module.name} cannot be imported: {error}')
sys.exit('\n'.join(wrong) or 0)
"

main() {
    ARCH=$HOST_ARCH
    case "$#:${1:-}" in
        0:) ;;
        2:--arch) ARCH=$2 ;;
        *) fail "usage: $0 [--arch amd64|arm64]" ;;
    esac
    readonly ARCH
    ((EUID == 0)) || fail "podman has to make network namespaces: run this as root"
    ensure podman runc debootstrap ipset iptables iproute2
    emulated || [[ $ARCH == "$HOST_ARCH" ]] || fail "nothing here runs $ARCH: apt-get install qemu-user-static binfmt-support"
    mkdir -p "$FOLDER"
    engine info >/dev/null 2>"$FOLDER/info.log" || none "podman does not start: $(tail -n 1 "$FOLDER/info.log")"
    if [[ -z ${BASE:-} ]]; then
        BASE=localhost/podgate-base:$SUITE-$ARCH
        make_base
    fi
    build
    check_identity
    check_contents
    if [[ $ARCH != "$HOST_ARCH" ]]; then
        check_explain
        state_size
        say "no rules were tried: qemu-user does not translate the netlink messages of iptables and ipset"
        return
    fi
    for backend in nft legacy; do
        check_rules "$backend"
    done
    check_process operator 9440
    check_process agent 9441 --user 0:0 --cap-add NET_ADMIN --cap-add NET_RAW --env NODE_NAME=node-b
    state_size
}

say() {
    printf 'image: %s\n' "$*" >&2
}

emulated() {
    # The flag F: the interpreter is opened when it is registered, so a container needs none of its own.
    case $ARCH in
        arm64) grep -ls '^flags:.*F' /proc/sys/fs/binfmt_misc/*aarch64 >/dev/null ;;
        amd64) grep -ls '^flags:.*F' /proc/sys/fs/binfmt_misc/*x86_64 >/dev/null ;;
        *) false ;;
    esac
}

# Exit code 3: nothing was found wrong, nothing was tried. Linters and tests/unit/hack have still read the Dockerfile.
none() {
    say "NOT BUILT, NOT RUN: $*"
    exit 3
}

fail() {
    say "$*"
    exit 1
}

ensure() {
    local package missing=()
    for package in "$@"; do
        dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q ' installed' || missing+=("$package")
    done
    if ((${#missing[@]})); then
        say "installing ${missing[*]}"
        {
            apt-get update -qq &&
                DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}"
        } </dev/null >&2 || none "cannot install ${missing[*]}"
    fi
}

engine() {
    # vfs copies every layer, but is there where overlay is not: inside another container, say.
    podman --root "$FOLDER/storage" --runroot "$FOLDER/run" --storage-driver "${STORAGE_DRIVER:-overlay}" "$@"
}

# What python:3.x-slim is, as far as the Dockerfile needs it: Debian, its Python with venv, and certificates.
make_base() {
    if engine image exists "$BASE"; then
        return
    fi
    say "making $BASE with debootstrap"
    rm -rf "$FOLDER/base"
    debootstrap --arch "$ARCH" --variant=minbase --include=ca-certificates,python3,python3-venv "$SUITE" "$FOLDER/base" \
        "${MIRROR:-http://deb.debian.org/debian}" >"$FOLDER/base.log" || none "debootstrap failed: $FOLDER/base.log"
    rm -rf "$FOLDER"/base/var/cache/apt/archives/*.deb
    tar --directory "$FOLDER/base" --create . | engine import --quiet --arch "$ARCH" - "$BASE" >/dev/null
    rm -rf "$FOLDER/base"
}

build() {
    local options=(--build-arg "BASE=$BASE" --build-arg "VERSION=$(version)" --build-arg "REVISION=$(revision)")
    if [[ -e $CERTIFICATES ]]; then
        # The authorities that this machine trusts, for a proxy that has its own.
        options+=(--volume "$CERTIFICATES:/run/authorities.crt:ro" --build-arg PIP_CERT=/run/authorities.crt
            --build-arg SSL_CERT_FILE=/run/authorities.crt)
    fi
    if [[ -n ${PIP_INDEX_URL:-} ]]; then
        options+=(--build-arg "PIP_INDEX_URL=$PIP_INDEX_URL" --build-arg "UV_DEFAULT_INDEX=$PIP_INDEX_URL")
    fi
    say "building $IMAGE on $BASE"
    # The host's network: a bridge of podman's own would need rules in the machine's tables.
    engine build --quiet --platform "linux/$ARCH" --network host --isolation chroot --layers=false "${options[@]}" --tag "$IMAGE" . \
        >"$FOLDER/build.log" 2>&1 || {
        tail -n 30 "$FOLDER/build.log" >&2
        fail "the build failed: $FOLDER/build.log"
    }
}

version() {
    sed -n 's/^__version__ = "\(.*\)"$/\1/p' controller/__init__.py
}

revision() {
    git rev-parse HEAD 2>/dev/null || echo unknown
}

# A container as the manifests ask for it; the limits are set because a machine may not let podman raise them.
run() {
    contained --rm "$@"
}

run_named() {
    contained --detach --name "$@" >/dev/null
}

contained() {
    engine run --runtime runc --platform "linux/$ARCH" --read-only --read-only-tmpfs=false --cap-drop all \
        --security-opt no-new-privileges --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 "$@"
}

check_identity() {
    local found
    found=$(run --network none "$IMAGE" --version)
    [[ $found == *"$(version)"* ]] || fail "the image says it is '$found', not $(version)"
    found=$(run --network none --entrypoint /opt/podgate/bin/python3 "$IMAGE" -c "$IDENTITY")
    [[ $found == "65532 65532 0000000000000000 2" || $ARCH != "$HOST_ARCH" ]] ||
        fail "user, group, capabilities and seccomp mode are $found, not 65532 65532 0000000000000000 2"
    say "runs as 65532, without capabilities, with the engine's seccomp profile"
}

# What is in it: all of podgate can be imported, and nothing is there that builds, installs, or gives privileges.
check_contents() {
    run --network none --entrypoint /opt/podgate/bin/python3 "$IMAGE" -c "$CONTENTS" ||
        fail "the image holds what it should not, or lacks what it needs (see above)"
    say "holds no compiler, pip, apt, perl or file with setuid, and all that podgate imports"
}

check_explain() {
    run --network none --volume "$PWD/examples:/examples:ro" "$IMAGE" \
        explain shop/storefront data/postgres --port 5432/TCP --filename /examples/shop >"$FOLDER/explain.log" || true
    grep -q 'shop/storefront' "$FOLDER/explain.log" || fail "explain says nothing: $FOLDER/explain.log"
    say "explains a connection of the shop on $(run --network none --entrypoint /usr/bin/uname "$IMAGE" -m)"
}

# Programme, compare and remove the rules of a node; the host's own tools look that they came and went. Without a shell:
# what stands in for it cannot be executed.
check_rules() {
    local backend=$1 lock=$FOLDER/xtables.lock state=$FOLDER/state
    touch "$lock"
    mkdir -p "$state"
    touch "$state/last-good.json"
    ip netns add "$NAMESPACE"
    trap 'ip netns delete "$NAMESPACE"' EXIT
    local as_agent=(run --network "ns:/run/netns/$NAMESPACE" --user 0:0 --cap-add NET_ADMIN --cap-add NET_RAW
        --volume "$lock:/run/xtables.lock" --volume "$state:/var/lib/podgate"
        --volume "$PWD/examples:/examples:ro" --volume "/dev/null:/usr/bin/dash:ro" "$IMAGE")
    local what=(--backend "$backend" --filename /examples/shop --node node-b)

    "${as_agent[@]}" apply "${what[@]}" 2>&1 | sed 's/^/image:   /' >&2 || fail "apply on $backend fails (see above)"
    (($(ours "$backend") > 100)) || fail "apply on $backend left $(ours "$backend") lines of podgate's in the kernel"
    "${as_agent[@]}" verify "${what[@]}" >/dev/null || fail "verify finds drift after apply on $backend"
    say "$backend: $(ours "$backend") lines of podgate's in the kernel, as verify says they should be"
    "${as_agent[@]}" cleanup --state-dir /var/lib/podgate 2>&1 | sed 's/^/image:   /' >&2 || fail "cleanup on $backend fails (see above)"
    (($(ours "$backend") == 0)) || fail "cleanup on $backend left $(ours "$backend") lines of podgate's"
    [[ -z $(ls -A "$state") ]] || fail "cleanup on $backend left $(ls -A "$state") in the state's folder"
    say "$backend: cleanup left nothing"
    ip netns delete "$NAMESPACE"
    trap - EXIT
}

# The long-running verbs, as process 1 and without an API server: alive, and gone at the first SIGTERM.
check_process() {
    local verb=$1 port=$2 name=$NAMESPACE-$1 code
    shift 2
    echo token >"$FOLDER/token"
    touch "$FOLDER/xtables.lock"
    ip netns add "$NAMESPACE"
    ip -netns "$NAMESPACE" link set lo up
    trap 'engine rm --force "$NAMESPACE-operator" "$NAMESPACE-agent" >/dev/null 2>&1; ip netns delete "$NAMESPACE"' EXIT
    # The token lies below /run, where the manifests mount a writable folder first: /var/run is a link.
    run_named "$name" --network "ns:/run/netns/$NAMESPACE" --tmpfs /run --tmpfs /tmp \
        --volume "$FOLDER/token:$TOKEN:ro" --volume "$FOLDER/xtables.lock:/run/xtables.lock" \
        --volume "/dev/null:/usr/bin/dash:ro" "$@" \
        "$IMAGE" "$verb" --server http://127.0.0.1:1 --token-file "$TOKEN"
    for ((SECONDS = 0; SECONDS < 30; )); do
        ! alive "$port" || break
        sleep 0.2
    done
    alive "$port" || fail "$verb does not answer on port $port: $(engine logs "$name" 2>&1 | tail -n 5)"
    # Process 1 collects what it starts; only `exec` could leave it orphans, which it does not collect.
    [[ $(engine top "$name" state) != *Z* ]] || fail "$verb has zombies: $(engine top "$name" pid state comm)"
    SECONDS=0
    engine stop --time 10 "$name" >/dev/null
    code=$(engine inspect --format '{{.State.ExitCode}}' "$name")
    ((code == 0)) || fail "$verb ends with $code at SIGTERM: $(engine logs "$name" 2>&1 | tail -n 5)"
    engine rm "$name" >/dev/null
    ip netns delete "$NAMESPACE"
    trap - EXIT
    say "$verb: alive, and ended within $((SECONDS + 1)) s of SIGTERM"
}

alive() {
    ip netns exec "$NAMESPACE" bash -c "
        exec 3<>/dev/tcp/127.0.0.1/$1
        printf 'GET /livez HTTP/1.0\r\n\r\n' >&3
        grep -q '200 OK' <&3" 2>/dev/null
}

ours() {
    {
        ip netns exec "$NAMESPACE" "iptables-$1-save" -t mangle
        ip netns exec "$NAMESPACE" "ip6tables-$1-save" -t mangle
        ip netns exec "$NAMESPACE" ipset save
    } | grep --count --extended-regexp 'PODGATE|pg[46]-' || true
}

state_size() {
    local bytes packed
    bytes=$(engine image inspect --format '{{.Size}}' "$IMAGE")
    packed=$(engine save "$IMAGE" 2>/dev/null | gzip -6 | wc -c)
    say "size: $((bytes / 1000000)) MB, $((packed / 1000000)) MB compressed, on $BASE"
}

main "$@"

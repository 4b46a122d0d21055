#!/usr/bin/env bash
# Builds the image and runs it as a node would: read-only root, two capabilities, a network namespace of its own.
#
#   hack/image/check.sh                            on a base made with debootstrap: no registry is asked
#   BASE=docker.io/library/python:3.13-slim-trixie hack/image/check.sh      on the base of the Dockerfile
#   hack/image/check.sh --arch arm64               for another machine, through qemu-user: ten minutes, and no rules
#   hack/image/check.sh --without-engine           as where podman cannot be had: the Dockerfile's steps in a chroot
#   hack/image/check.sh --sbom                     the same, and no check: only build/image/sbom.json, what it holds
#
# The last line says which of them it was, on standard output; exit code 3: none, neither podman nor debootstrap can be
# had. Needs root, on Debian or Ubuntu; installs podman, runc and debootstrap when they are missing. Whatever it makes
# is in build/image, with a storage of its own: the machine's images, rules and sets stay as they are.
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
print(os.getuid(), os.getgid(), *re.findall(r'^(?:CapEff|CapBnd|NoNewPrivs|Seccomp):\s*(\w+)', status, re.M))
try:
    open('/written', 'w')
except OSError as error:
    print(error.strerror)
"
# A process that ends, and leaves one behind that ends after it.
readonly ORPHAN="
import os, time
if os.fork() == 0:
    time.sleep(0.5)
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
    local way=podman checks=all
    case "$#:${1:-}" in
        0:) ;;
        1:--without-engine) way=chroot ;;
        1:--sbom) way=chroot checks=none ;;
        2:--arch) ARCH=$2 ;;
        *) fail "usage: $0 [--arch amd64|arm64 | --without-engine | --sbom]" ;;
    esac
    readonly ARCH BASE_FOLDER=$FOLDER/base-$SUITE-$ARCH
    ((EUID == 0)) || fail "network namespaces have to be made: run this as root"
    mkdir -p "$FOLDER"
    ensure ipset iptables iproute2 || none "its rules could not be looked at"
    hack/setup || fail "without its environment nothing reads the Dockerfile or the image (see above)"
    choose "$way"
    emulated || [[ $ARCH == "$HOST_ARCH" ]] || fail "nothing here runs $ARCH: apt-get install qemu-user-static binfmt-support"
    way_build
    [[ $checks == none ]] || check
    write_sbom
    state_size
    way_name "$checks"
}

check() {
    check_identity
    check_contents
    check_explain
    if [[ $ARCH == "$HOST_ARCH" ]]; then
        mkdir -p "$FOLDER/placed"
        .venv/bin/python hack/image/placed.py examples/shop >"$FOLDER/placed/shop.yaml" || fail "the shop's pods get no addresses"
        for backend in nft legacy; do
            check_rules "$backend"
        done
        check_process operator 9440
        check_process agent 9441 --user 0:0 --cap-add NET_ADMIN --cap-add NET_RAW --env NODE_NAME=node-b
    else
        say "no rules were tried: qemu-user does not translate the netlink messages of iptables and ipset"
    fi
}

# Reads the functions of a way: podman's where it can be installed and started, else those of the chroot.
choose() {
    if [[ $1 == podman ]]; then
        # In a process of its own: of what cannot be used, no function stays.
        # shellcheck source=hack/image/podman.sh
        if (source hack/image/podman.sh && way_ready); then
            source hack/image/podman.sh
            return
        fi
        say "there is no engine (see above): the steps of the Dockerfile are taken in a chroot"
    fi
    # shellcheck source=hack/image/chroot.sh
    source hack/image/chroot.sh
    way_ready || none "neither an engine nor a chroot can be had (see above)"
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

# Fails, with a message, where a package is missing and cannot be installed.
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
        } </dev/null >&2 || {
            say "cannot install ${missing[*]}"
            return 1
        }
    fi
}

# What python:3.x-slim is, as far as the Dockerfile needs it: Debian, its Python with venv, and certificates.
make_base() {
    if [[ -d $BASE_FOLDER ]]; then
        return
    fi
    say "making the base, $SUITE for $ARCH, with debootstrap"
    rm -rf "$BASE_FOLDER.new"
    debootstrap --arch "$ARCH" --variant=minbase --include=ca-certificates,python3,python3-venv "$SUITE" "$BASE_FOLDER.new" \
        "${MIRROR:-http://deb.debian.org/debian}" >"$FOLDER/base.log" || none "debootstrap failed: $FOLDER/base.log"
    rm -rf "$BASE_FOLDER.new"/var/cache/apt/archives/*.deb
    mv "$BASE_FOLDER.new" "$BASE_FOLDER"
}

# What both ways are told of the build: sets OPTIONS.
build_options() {
    OPTIONS=(--build-arg "BASE=$BASE" --build-arg "VERSION=$(version)" --build-arg "REVISION=$(revision)")
    if [[ -e $CERTIFICATES ]]; then
        # The authorities that this machine trusts, for a proxy that has its own.
        OPTIONS+=(--volume "$CERTIFICATES:/run/authorities.crt:ro" --build-arg PIP_CERT=/run/authorities.crt
            --build-arg SSL_CERT_FILE=/run/authorities.crt)
    fi
    if [[ -n ${PIP_INDEX_URL:-} ]]; then
        OPTIONS+=(--build-arg "PIP_INDEX_URL=$PIP_INDEX_URL" --build-arg "UV_DEFAULT_INDEX=$PIP_INDEX_URL")
    fi
}

build_failed() {
    tail -n 30 "$FOLDER/build.log" >&2
    fail "the build failed: $FOLDER/build.log"
}

version() {
    sed -n 's/^__version__ = "\(.*\)"$/\1/p' controller/__init__.py
}

revision() {
    git rev-parse HEAD 2>/dev/null || echo unknown
}

check_identity() {
    local found
    found=$(run --network none "$IMAGE" --version)
    [[ $found == *"$(version)"* ]] || fail "the image says it is '$found', not $(version)"
    check_status 65532 0000000000000000
    check_status 0 0000000000003000 --user 0:0 --cap-add NET_ADMIN --cap-add NET_RAW
    say "runs as 65532 without capabilities, as root with two; new privileges: none; the root: read-only; seccomp mode: $SECCOMP"
}

check_status() {
    local user=$1 capabilities=$2 found wanted
    shift 2
    wanted="$user $user $capabilities $capabilities 1 $SECCOMP Read-only file system"
    found=$(run --network none --entrypoint /opt/podgate/bin/python3 "$@" "$IMAGE" -c "$IDENTITY" | xargs)
    [[ $found == "$wanted" || $ARCH != "$HOST_ARCH" ]] ||
        fail "user, group, capabilities (effective, bounding), no new privileges, seccomp and root are $found, not $wanted"
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
        --volume "$FOLDER/placed:/placed:ro" --volume "/dev/null:/usr/bin/dash:ro" "$IMAGE")
    local what=(--backend "$backend" --filename /placed --node node-b)

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

# The long-running verbs, as the container's main process and without an API server: alive, nothing left to collect, and
# gone at the first SIGTERM.
check_process() {
    local verb=$1 port=$2 name=$NAMESPACE-$1 round found rules=0
    shift 2
    echo token >"$FOLDER/token"
    touch "$FOLDER/xtables.lock"
    ip netns add "$NAMESPACE"
    ip -netns "$NAMESPACE" link set lo up
    trap 'discard "$NAMESPACE-operator"; discard "$NAMESPACE-agent"; ip netns delete "$NAMESPACE"' EXIT
    # The token lies below /run, where the manifests mount a writable folder first: /var/run is a link.
    if [[ $verb == agent ]]; then
        run --network "ns:/run/netns/$NAMESPACE" "$@" --volume "$FOLDER/xtables.lock:/run/xtables.lock" \
            --volume "$FOLDER/placed:/placed:ro" "$IMAGE" apply --backend nft --filename /placed --node node-b \
            >"$FOLDER/apply.log" 2>&1 || fail "apply fails: $FOLDER/apply.log"
        rules=$(ours nft)
    fi
    start "$name" --network "ns:/run/netns/$NAMESPACE" --tmpfs /run --tmpfs /tmp \
        --volume "$FOLDER/token:$TOKEN:ro" --volume "$FOLDER/xtables.lock:/run/xtables.lock" \
        --volume "/dev/null:/usr/bin/dash:ro" "$@" \
        "$IMAGE" "$verb" --server http://127.0.0.1:1 --token-file "$TOKEN"
    for ((SECONDS = 0; SECONDS < 30; )); do
        ! alive "$port" || break
        sleep 0.2
    done
    alive "$port" || fail "$verb does not answer on port $port: $(logs "$name" | tail -n 5)"
    # As a probe does that is killed while a tool of it still runs.
    for round in 1 2 3 4 5; do
        inside "$name" /opt/podgate/bin/python3 -c "$ORPHAN"
    done
    sleep 1.5
    found=$(states "$name" | xargs)
    [[ $found == *S* ]] || fail "of $verb no process is seen that waits: '$found'"
    [[ $found != *Z* ]] || fail "$verb has zombies: $found"
    [[ $(logs "$name") != *"is started again"* ]] || fail "part of $verb does not start: $(logs "$name" | tail -n 5)"
    SECONDS=0
    stop "$name"
    ((CODE == 0)) || fail "$verb ends with $CODE at SIGTERM"
    (($(ours nft) == rules)) || fail "$verb leaves $(ours nft) lines of podgate's in the kernel, of $rules"
    ip netns delete "$NAMESPACE"
    trap - EXIT
    say "$verb: alive, no zombies after $round processes with orphans, and ended with 0 within $((SECONDS + 1)) s of SIGTERM; $rules lines in the kernel stayed"
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

# What the image holds, from its file system, as CycloneDX.
write_sbom() {
    seen
    .venv/bin/python hack/image/sbom.py --version "$(version)" --created "$(git log -1 --format=%cI 2>/dev/null || echo 1980-01-01T00:00:00Z)" \
        "$ROOT" "$FOLDER/sbom.json" >&2 || fail "the SBOM could not be written (see above)"
    unseen
}

main "$@"

# shellcheck shell=bash
# What up.sh, e2e.sh and down.sh share: their options, and how a step is shown, run, or only shown. Sourced.

NAME=podgate
FAMILY=ipv4
BACKEND=nft
WORKERS=2
DRY_RUN=
PYTHON=${PYTHON:-python3}
# shellcheck disable=SC2034  # used by those who source this
readonly SYSTEM=podgate-system

usage() {
    cat >&2 <<TEXT
usage: $0 [--dry-run] [--name NAME] [--family ipv4|ipv6|dual] [--backend nft|legacy] [--workers N]

  --dry-run   print every command and run none
  --name      the kind cluster's name ($NAME)
  --family    which addresses pods and Services have ($FAMILY)
  --backend   which iptables kubelet and kube-proxy use on the nodes ($BACKEND)
  --workers   how many nodes beside the control plane ($WORKERS)
TEXT
    exit 2
}

parse_options() {
    while (($#)); do
        case $1 in
            --dry-run) DRY_RUN=yes ;;
            --name | --family | --backend | --workers)
                (($# > 1)) || usage
                set_option "$1" "$2"
                shift
                ;;
            *) usage ;;
        esac
        shift
    done
    readonly NAME FAMILY BACKEND WORKERS DRY_RUN
}

set_option() {
    case $1=$2 in
        --name=?*) NAME=$2 ;;
        --family=ipv4 | --family=ipv6 | --family=dual) FAMILY=$2 ;;
        --backend=nft | --backend=legacy) BACKEND=$2 ;;
        --workers=[1-9]) WORKERS=$2 ;;
        *) usage ;;
    esac
}

need() {
    local tool
    [[ -z $DRY_RUN ]] || return 0
    for tool in "$@"; do
        command -v "$tool" >/dev/null || fail "needs $tool, which is not installed"
    done
}

fail() {
    printf 'kind: %s\n' "$*" >&2
    exit 1
}

heading() {
    printf '\n# %s\n' "$*"
}

# Show a command as one could type it, and run it.
step() {
    show "$@"
    [[ -n $DRY_RUN ]] || "$@"
}

# The same of a line for the shell, where it takes a pipe.
step_line() {
    printf '%s\n' "$1"
    [[ -n $DRY_RUN ]] || bash -euo pipefail -c "$1"
}

show() {
    local word line=
    for word in "$@"; do
        [[ $word =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]] || word="'${word//\'/\'\\\'\'}'"
        line+="$word "
    done
    printf '%s\n' "${line% }"
}

kubectl_args() {
    printf '%s' "kubectl --context kind-$NAME"
}

cluster() {
    step kubectl --context "kind-$NAME" "$@"
}

# The names that kind gives its nodes.
nodes() {
    local number
    echo "$NAME-control-plane"
    for ((number = 1; number <= WORKERS; number++)); do
        ((number == 1)) && echo "$NAME-worker" || echo "$NAME-worker$number"
    done
}

version() {
    sed -n 's/^__version__ = "\(.*\)"$/\1/p' controller/__init__.py
}

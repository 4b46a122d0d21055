#!/usr/bin/env bash
# Sourced by check.sh, where no engine is: the steps of the Dockerfile in folders, and what comes of them run with
# unshare, chroot and capsh. podman.sh has the same functions, with an engine.
# shellcheck disable=SC2034,SC2153,SC2154  # variables that check.sh shares

# Nothing here has a seccomp profile.
readonly SECCOMP=0
readonly STEPS=$FOLDER/steps

way_ready() {
    if [[ $ARCH != "$HOST_ARCH" || -n ${BASE:-} ]]; then
        say "without an engine there is only the debootstrapped base of this machine: no --arch, no BASE"
        return 1
    fi
    ensure debootstrap libcap2-bin util-linux mount procps
}

way_name() {
    local run=", and what came of them with unshare and capsh, without seccomp"
    [[ $1 == all ]] || run=", and what came of them was not run"
    echo "NOT built by an engine: its steps were run in a chroot on a debootstrapped $SUITE$run"
}

way_build() {
    make_base
    BASE=debootstrapped
    build_options
    say "taking the steps of the Dockerfile in $STEPS"
    .venv/bin/python hack/image/steps.py --base "$BASE=$BASE_FOLDER" "${OPTIONS[@]}" "$STEPS" \
        >"$FOLDER/build.log" 2>&1 || build_failed
}

# The options are podman's, up to the name of the image.
contained() {
    local options=()
    while [[ $1 != "$IMAGE" ]]; do
        case $1 in
            --network) options+=("--network=${2#ns:}") ;;
            --user | --cap-add | --env | --volume | --tmpfs | --entrypoint) options+=("$1=$2") ;;
            *) fail "contain.py has no $1" ;;
        esac
        shift 2
    done
    shift
    exec .venv/bin/python hack/image/contain.py --image "$STEPS/image.json" \
        ${PID_FILE:+--pid-file="$PID_FILE"} "${options[@]}" "$STEPS/image" -- "$@"
}

run() {
    (contained "$@")
}

start() {
    local name=$1
    shift
    # Not `run`: this process itself becomes the one to wait for, and to end.
    PID_FILE=$FOLDER/$name.pid contained "$@" >"$FOLDER/$name.log" 2>&1 &
    STARTED=$!
}

logs() {
    cat "$FOLDER/$1.log"
}

inside() {
    local pid
    pid=$(<"$FOLDER/$1.pid")
    shift
    nsenter --target "$pid" --mount --pid --net --ipc --uts --root --wd -- "$@"
}

states() {
    local space
    space=$(stat --dereference --format %i "/proc/$(<"$FOLDER/$1.pid")/ns/pid")
    ps -e -o pidns=,stat= | awk -v space="$space" '$1 == space { print $2 }'
}

# Sets CODE.
stop() {
    CODE=0
    kill -TERM "$(<"$FOLDER/$1.pid")"
    timeout 10 tail --pid="$STARTED" --sleep-interval=0.1 -f /dev/null || kill -TERM "$STARTED"
    wait "$STARTED" || CODE=$?
    rm "$FOLDER/$1.pid" "$FOLDER/$1.log"
}

discard() {
    if [[ -e $FOLDER/$1.pid ]]; then
        kill -TERM "$STARTED" || true
        wait "$STARTED" || true
        rm -f "$FOLDER/$1.pid"
    fi
}

# Sets ROOT, the folder where the file system can be read until `unseen`.
seen() {
    ROOT=$STEPS/image
}

unseen() {
    ! grep --fixed-strings "$FOLDER/" /proc/self/mountinfo >&2 || fail "something is still mounted (see above)"
}

state_size() {
    local bytes packed
    bytes=$(du --summarize --apparent-size --bytes "$STEPS/image" | cut -f 1)
    packed=$(tar --directory "$STEPS/image" --create . | gzip -6 | wc -c)
    say "size: $((bytes / 1000000)) MB, $((packed / 1000000)) MB compressed, as files"
}

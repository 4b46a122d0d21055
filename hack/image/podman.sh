#!/usr/bin/env bash
# Sourced by check.sh: how podman builds the image and runs it. chroot.sh has the same functions, without an engine.
# shellcheck disable=SC2034,SC2154  # variables that check.sh shares

# What /proc/self/status says of seccomp: 2, a filter.
readonly SECCOMP=2

way_ready() {
    ensure podman runc debootstrap || return 1
    engine info >/dev/null 2>"$FOLDER/info.log" || {
        say "podman does not start: $(tail -n 1 "$FOLDER/info.log")"
        return 1
    }
}

way_name() {
    echo "built with podman on $BASE, and run with runc"
}

engine() {
    # vfs copies every layer, but is there where overlay is not: inside another container, say.
    podman --root "$FOLDER/storage" --runroot "$FOLDER/run" --storage-driver "${STORAGE_DRIVER:-overlay}" "$@"
}

way_build() {
    if [[ -z ${BASE:-} ]]; then
        BASE=localhost/podgate-base:$SUITE-$ARCH
        import_base
    fi
    build_options
    say "building $IMAGE on $BASE"
    # The host's network: a bridge of podman's own would need rules in the machine's tables.
    engine build --quiet --platform "linux/$ARCH" --network host --isolation chroot --layers=false \
        "${OPTIONS[@]}" --tag "$IMAGE" . >"$FOLDER/build.log" 2>&1 || build_failed
}

import_base() {
    if engine image exists "$BASE"; then
        return
    fi
    make_base
    tar --directory "$BASE_FOLDER" --create . | engine import --quiet --arch "$ARCH" - "$BASE" >/dev/null
}

# The limits are set because a machine may not let podman raise them. No name for the user: a kubelet gives it none.
contained() {
    engine run --runtime runc --platform "linux/$ARCH" --passwd=false --read-only --read-only-tmpfs=false --cap-drop all \
        --security-opt no-new-privileges --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 "$@"
}

run() {
    contained --rm "$@"
}

start() {
    contained --detach --name "$@" >/dev/null
}

logs() {
    engine logs "$1" 2>&1
}

inside() {
    engine exec "$@"
}

states() {
    engine top "$1" state
}

# Sets CODE.
stop() {
    engine stop --time 10 "$1" >/dev/null
    CODE=$(engine inspect --format '{{.State.ExitCode}}' "$1")
    engine rm "$1" >/dev/null
}

discard() {
    engine rm --force "$1" >/dev/null 2>&1 || true
}

# Sets ROOT, the folder where the file system can be read until `unseen`.
seen() {
    ROOT=$(engine image mount "$IMAGE")
}

unseen() {
    engine image unmount "$IMAGE" >/dev/null
}

state_size() {
    local bytes packed
    bytes=$(engine image inspect --format '{{.Size}}' "$IMAGE")
    packed=$(engine save "$IMAGE" 2>/dev/null | gzip -6 | wc -c)
    say "size: $((bytes / 1000000)) MB, $((packed / 1000000)) MB compressed, on $BASE"
}

#!/usr/bin/env bash
# One node with a real kubelet, containerd and runc below a real kube-apiserver, on this machine and apart from it:
#
#   hack/kubernetes/node.sh up             as root, with go and podman; after `make image-check`, whose image it takes
#   hack/kubernetes/node.sh in COMMAND...  a command in its network and mounts, with KUBECONFIG set
#   hack/kubernetes/node.sh down
#
# Everything is in a network, mount and UTS namespace of its own. What kubelet sets in /proc/sys for the whole machine
# it sets in files of ours instead. containerd is Debian's, unpacked and not installed: no service is started. Pods get
# addresses by the CNI plugins ptp and host-local, which enforce nothing. There is no kube-proxy and no DNS: a rule
# leads from the address of the Service `kubernetes` to kube-apiserver, and that is all that pods of podgate need.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly NODE=$PWD/build/node
readonly IMAGES=$PWD/build/image
readonly ADDRESS=192.168.77.10
readonly SERVICE=10.96.0.1
readonly PODS=10.244.0.0

main() {
    ((EUID == 0)) || fail "namespaces have to be made: run this as root"
    case "${1:-}" in
        up) up ;;
        in) shift && enter "$@" ;;
        down) down ;;
        inside) inside ;;
        *) fail "usage: $0 up | in COMMAND... | down" ;;
    esac
}

fail() {
    printf 'node: %s\n' "$@" >&2
    exit 1
}

say() {
    printf 'node: %s\n' "$*" >&2
}

up() {
    local assets plugin
    [[ -d $IMAGES/storage ]] || fail "there is no image: run make image-check first"
    [[ ! -e $NODE/pid ]] || fail "it is up; $0 down removes it"
    for plugin in ptp host-local; do
        [[ -x /usr/lib/cni/$plugin ]] || fail "there is no /usr/lib/cni/$plugin: apt-get install containernetworking-plugins"
    done
    assets=$(hack/kubernetes/build.sh kube-controller-manager kube-scheduler kubelet)
    mkdir -p "$NODE"/{log,pki,cni,sysctl,state}
    printf '%s\n' "$assets" >"$NODE/assets"
    unpack_containerd
    export_images
    make_keys
    write_settings
    setsid unshare --mount --net --uts --propagation private "${BASH_SOURCE[0]}" inside >"$NODE/log/inside" 2>&1 &
    echo $! >"$NODE/pid"
    await_node
}

# --- what it is made of ------------------------------------------------------------------------

unpack_containerd() {
    [[ ! -x $NODE/containerd/usr/bin/containerd ]] || return 0
    say "unpacking Debian's containerd"
    (cd "$NODE" && apt-get download -q containerd >/dev/null 2>&1 && dpkg -x containerd_*.deb containerd && rm containerd_*.deb)
}

engine() {
    podman --root "$IMAGES/storage" --runroot "$IMAGES/run" --storage-driver "${STORAGE_DRIVER:-overlay}" "$@"
}

# A sandbox needs a process that does nothing: podgate's image has a Python that can.
export_images() {
    local version
    version=$(kubectl kustomize manifests/base | grep -o 'localhost/podgate:[^ ]*' | head -n 1)
    say "exporting $version"
    engine tag localhost/podgate:check "$version"
    printf 'FROM %s\nENTRYPOINT ["/usr/bin/tini", "--", "/opt/podgate/bin/python3", "-c", "import signal; signal.pause()"]\n' \
        "$version" | engine build --quiet --isolation chroot --network host --tag localhost/pause:1 - >/dev/null
    rm -f "$NODE/images.tar"
    engine save --quiet --multi-image-archive --format docker-archive --output "$NODE/images.tar" "$version" localhost/pause:1
}

make_keys() {
    local pki=$NODE/pki
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$pki/ca.key" -out "$pki/ca.crt" -subj /CN=node -days 30 2>/dev/null
    openssl req -newkey rsa:2048 -nodes -keyout "$pki/server.key" -out "$pki/server.csr" -subj /CN=kube-apiserver 2>/dev/null
    openssl x509 -req -in "$pki/server.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -days 30 -out "$pki/server.crt" \
        -extfile <(echo "subjectAltName=IP:127.0.0.1,IP:$ADDRESS,IP:$SERVICE,DNS:kubernetes.default.svc") 2>/dev/null
    openssl genrsa -out "$pki/accounts.key" 2048 2>/dev/null
    openssl rsa -in "$pki/accounts.key" -pubout -out "$pki/accounts.pub" 2>/dev/null
    (umask 077 && echo "$(openssl rand -hex 16),admin,admin,\"system:masters\"" >"$pki/tokens.csv")
}

write_settings() {
    cat >"$NODE/kubeconfig" <<EOF
apiVersion: v1
kind: Config
clusters: [{name: node, cluster: {server: "https://$ADDRESS:6443", certificate-authority: $NODE/pki/ca.crt}}]
users: [{name: admin, user: {token: "$(cut -d , -f 1 "$NODE/pki/tokens.csv")"}}]
contexts: [{name: node, context: {cluster: node, user: admin}}]
current-context: node
EOF
    cat >"$NODE/containerd.toml" <<EOF
version = 2
root = "$NODE/state/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  # Where root may not lower it (no CAP_SYS_RESOURCE) runc would end without a word.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$NODE/cni"
EOF
    cat >"$NODE/cni/10-ptp.conflist" <<EOF
{"cniVersion": "0.4.0", "name": "ptp", "plugins": [{"type": "ptp", "ipMasq": false, "ipam": {"type": "host-local",
"dataDir": "/run/cni-ipam", "ranges": [[{"subnet": "$PODS/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
EOF
    cat >"$NODE/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
localStorageCapacityIsolation: false
# Without cgroups of pods a kubelet 1.34 that looks for resized pods ends by a nil pointer.
featureGates: {InPlacePodVerticalScaling: false}
evictionHard: {memory.available: "0%", nodefs.available: "0%", imagefs.available: "0%"}
imageGCHighThresholdPercent: 100
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
EOF
}

# --- in its namespaces -------------------------------------------------------------------------

inside() {
    local pki=$NODE/pki log=$NODE/log
    PATH=$NODE/containerd/usr/bin:$(<"$NODE/assets"):$PATH
    hostname node-1
    own_folders
    own_sysctls
    own_network
    etcd --data-dir "$NODE/state/etcd" --unsafe-no-fsync >"$log/etcd" 2>&1 &
    kube-apiserver --etcd-servers=http://127.0.0.1:2379 --bind-address=0.0.0.0 --advertise-address="$ADDRESS" \
        --tls-cert-file="$pki/server.crt" --tls-private-key-file="$pki/server.key" --token-auth-file="$pki/tokens.csv" \
        --authorization-mode=RBAC --service-account-issuer=https://kubernetes.default.svc \
        --service-account-key-file="$pki/accounts.pub" --service-account-signing-key-file="$pki/accounts.key" \
        --service-cluster-ip-range=10.96.0.0/16 --allow-privileged=true \
        --kubelet-preferred-address-types=InternalIP >"$log/kube-apiserver" 2>&1 &
    containerd --config "$NODE/containerd.toml" >"$log/containerd" 2>&1 &
    export KUBECONFIG=$NODE/kubeconfig
    until kubectl get --raw /readyz >/dev/null 2>&1; do sleep 0.5; done
    ctr --namespace k8s.io images import "$NODE/images.tar" >"$log/images" 2>&1
    kube-controller-manager --kubeconfig="$KUBECONFIG" --service-account-private-key-file="$pki/accounts.key" \
        --root-ca-file="$pki/ca.crt" --allocate-node-cidrs=true --cluster-cidr="$PODS/16" \
        --service-cluster-ip-range=10.96.0.0/16 --leader-elect=false >"$log/kube-controller-manager" 2>&1 &
    kube-scheduler --kubeconfig="$KUBECONFIG" --leader-elect=false >"$log/kube-scheduler" 2>&1 &
    kubelet --config="$NODE/kubelet.yaml" --kubeconfig="$KUBECONFIG" --root-dir="$NODE/state/kubelet" \
        --hostname-override=node-1 --node-ip="$ADDRESS" >"$log/kubelet" 2>&1 &
    wait
}

own_folders() {
    local controller folder kind
    mount --make-rshared /
    mkdir -p /var/lib/podgate /var/lib/cni
    for folder in /run /var/lib/podgate /var/lib/cni /var/log; do mount -t tmpfs tmpfs "$folder"; done
    mkdir -p /run/netns /run/lock /var/log/pods /var/log/containers
    kind=$(stat --file-system --format %T /sys/fs/cgroup)
    mount -t sysfs sysfs /sys
    if [[ $kind == cgroup2fs ]]; then
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        return
    fi
    mount -t tmpfs tmpfs /sys/fs/cgroup
    for controller in cpu cpuacct cpuset memory devices freezer blkio pids; do
        mkdir "/sys/fs/cgroup/$controller"
        mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller"
    done
    mkdir /sys/fs/cgroup/systemd
    mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
}

# Of the whole machine and not of a namespace; kubelet insists on these.
own_sysctls() {
    local entry file
    for entry in vm/overcommit_memory:1 kernel/panic:10 kernel/panic_on_oops:1 kernel/keys/root_maxkeys:1000000 \
        kernel/keys/root_maxbytes:25000000; do
        file=$NODE/sysctl/${entry//[\/:]/_}
        echo "${entry##*:}" >"$file"
        mount --bind "$file" "/proc/sys/${entry%%:*}"
    done
}

own_network() {
    local chain
    ip link set lo up
    ip link add eth0 type veth peer name uplink
    ip link set uplink up
    ip address add "$ADDRESS/24" dev eth0
    ip link set eth0 up
    ip route add default via 192.168.77.1 dev eth0
    echo 1 >/proc/sys/net/ipv4/ip_forward
    for chain in OUTPUT PREROUTING; do
        iptables-nft -t nat -A "$chain" -d "$SERVICE/32" -p tcp --dport 443 -j DNAT --to-destination "$ADDRESS:6443"
    done
}

# --- from outside ------------------------------------------------------------------------------

enter() {
    [[ -e $NODE/pid ]] || fail "it is not up"
    nsenter --target "$(<"$NODE/pid")" --mount --net --uts env KUBECONFIG="$NODE/kubeconfig" \
        PATH="$PWD/.venv/bin:$NODE/containerd/usr/bin:$PATH" "$@"
}

await_node() {
    local deadline=$((SECONDS + 120))
    until enter kubectl wait --for=condition=Ready node/node-1 --timeout=1s >/dev/null 2>&1; do
        ((SECONDS < deadline)) || fail "the node is not ready after two minutes; see $NODE/log"
        sleep 0.5
    done
    say "node-1 is ready: $0 in kubectl get pods -A"
}

down() {
    local own group process task
    [[ -e $NODE/pid ]] || fail "it is not up"
    own=$(readlink "/proc/$(<"$NODE/pid")/ns/mnt") || own=none
    # Containers have mounts of their own, but hang from shims that have ours.
    enter ctr --namespace k8s.io tasks ls -q 2>/dev/null | while read -r task; do
        enter ctr --namespace k8s.io tasks kill --signal SIGKILL "$task" 2>/dev/null || true
    done
    sleep 1
    for process in /proc/[0-9]*; do
        [[ $(readlink "$process/ns/mnt" 2>/dev/null) != "$own" ]] || kill -KILL "${process#/proc/}" 2>/dev/null || true
    done
    sleep 1
    for group in /sys/fs/cgroup/k8s.io /sys/fs/cgroup/*/k8s.io; do
        [[ ! -d $group ]] || find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || true
    done
    rm -rf "$NODE/state" "$NODE/pid" "$NODE/pki" "$NODE/images.tar"
    say "gone; the logs are in $NODE/log"
}

main "$@"

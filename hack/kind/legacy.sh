# shellcheck shell=sh
# Runs on a node of a kind cluster, at standard input of its shell: legacy iptables from now on, for kubelet too.
# Chains of kubelet in the other backend would leave podgate in doubt which one is used, so they go.
set -eu
systemctl stop kubelet
for tool in iptables ip6tables; do
    update-alternatives --set "$tool" "/usr/sbin/$tool-legacy"
    for chain in KUBE-IPTABLES-HINT KUBE-KUBELET-CANARY; do
        "$tool-nft" --wait --table mangle --flush "$chain" 2>/dev/null || continue
        "$tool-nft" --wait --table mangle --delete-chain "$chain"
    done
done
systemctl start kubelet

# shellcheck shell=sh
# Runs on a node of a kind cluster, at standard input of its shell: the iptables backend that is the argument from now
# on, for kubelet too. A node chooses for itself when it starts, by what docker has put there, and legacy when that says
# nothing. Chains of kubelet in the other backend would leave podgate in doubt which one is used, so they go.
set -eu
wanted=$1
case $wanted in nft) other=legacy ;; *) other=nft ;; esac
systemctl stop kubelet
for tool in iptables ip6tables; do
    update-alternatives --set "$tool" "/usr/sbin/$tool-$wanted"
    for chain in KUBE-IPTABLES-HINT KUBE-KUBELET-CANARY; do
        "$tool-$other" --wait --table mangle --flush "$chain" 2>/dev/null || continue
        "$tool-$other" --wait --table mangle --delete-chain "$chain"
    done
done
systemctl start kubelet

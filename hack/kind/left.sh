# shellcheck shell=sh
# Runs on a node of a kind cluster, at standard input of its shell: prints what of podgate's is in its kernel.
set -eu
rules=$(iptables-nft-save && ip6tables-nft-save)
# The modules of legacy iptables may not be there, and need not.
legacy=$(iptables-legacy-save && ip6tables-legacy-save) || legacy=
sets=
if command -v ipset >/dev/null; then
    sets=$(ipset list -name)
fi
printf '%s\n' "$rules" "$legacy" "$sets" | sed -n '/PODGATE/p; /^pg[46]-/p'

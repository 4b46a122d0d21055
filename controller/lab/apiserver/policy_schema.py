"""The fields of a NetworkPolicy, so that the server drops the others as a real one does.

Only which fields there are: what they may hold is for `controller.objects.decode_policy` to say.
"""

from typing import Any

_ANYTHING: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}
_EXPRESSION: dict[str, Any] = {"properties": {"key": {}, "operator": {}, "values": _ANYTHING}}
_SELECTOR: dict[str, Any] = {
    "properties": {"matchLabels": _ANYTHING, "matchExpressions": {"items": _EXPRESSION}}
}
_PEER: dict[str, Any] = {
    "properties": {
        "podSelector": _SELECTOR,
        "namespaceSelector": _SELECTOR,
        "ipBlock": {"properties": {"cidr": {}, "except": _ANYTHING}},
    }
}
_PORT: dict[str, Any] = {"properties": {"protocol": {}, "port": {}, "endPort": {}}}


def _rules(peers: str) -> dict[str, Any]:
    return {"items": {"properties": {peers: {"items": _PEER}, "ports": {"items": _PORT}}}}


NETWORK_POLICY: dict[str, Any] = {
    "properties": {
        "spec": {
            "properties": {
                "podSelector": _SELECTOR,
                "policyTypes": _ANYTHING,
                "ingress": _rules("from"),
                "egress": _rules("to"),
            }
        }
    }
}

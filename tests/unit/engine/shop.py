"""The cluster that the tests of verdicts share, and the two policies they put into it.

`shop/web` and `shop/db` share a node, `shop/web` and `shop/api` a namespace; `bank/web` shares neither.
"""

from collections.abc import Sequence
from typing import Any

from tests.unit.builder import ClusterBuilder, Judge, Spec, cluster, labels

OUTSIDE = "192.0.2.1"
NODE_1, NODE_2 = "172.16.0.1", "172.16.0.2"
OPEN = (
    cluster()
    .ns("shop", team="a")
    .ns("bank", team="b")
    .node("node-1", NODE_1)
    .node("node-2", NODE_2)
    .pod("shop/web", ip="10.0.1.1", labels={"app": "web"})
    .pod("shop/db", ip="10.0.1.2", labels={"app": "db"}, ports=["http:8080", "sql:5432"])
    .pod("shop/api", ip="10.0.2.1", labels={"app": "api"}, node="node-2", ports=["http:8080"])
    .pod("bank/web", ip="10.0.2.2", labels={"app": "web"}, node="node-2", ports=["http:9090"])
)
SOURCES = ("shop/web", "shop/api", "bank/web", OUTSIDE)
PEERS = (*SOURCES, NODE_1, NODE_2)


def accepting(*rules: dict[str, Any], **spec: Any) -> Spec:  # noqa: ANN401  any field of a spec
    """An ingress policy for `app: db`."""
    return {"podSelector": labels(app="db"), "ingress": list(rules), **spec}


def sending(*rules: dict[str, Any]) -> Spec:
    """An egress policy for `app: web`."""
    return {"podSelector": labels(app="web"), "policyTypes": ["Egress"], "egress": list(rules)}


def who_reaches(
    allowed: Judge,
    built: ClusterBuilder,
    destination: str,
    service: str = "80",
    among: Sequence[str] = SOURCES,
) -> list[str]:
    return [source for source in among if allowed(built, source, destination, service)]

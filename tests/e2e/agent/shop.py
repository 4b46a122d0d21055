"""The cluster that the agent's tests are about: a shop on `node-1`, with its customers elsewhere."""

from tests.unit.builder import ClusterBuilder, cluster, labels, pods

FROM_WEB = {"podSelector": labels(app="db"), "ingress": [{"from": [pods(app="web")]}]}
FROM_CACHE = {"podSelector": labels(app="web"), "ingress": [{"from": [pods(app="cache")]}]}

SHOP = (
    cluster()
    .node("node-1", "192.0.2.1", pods=["10.0.0.0/24", "fd00::/64"])
    .pod("shop/db", ip=("10.0.0.3", "fd00::3"), labels={"app": "db"})
    .pod("shop/web", ip=("10.0.0.4", "fd00::4"), labels={"app": "web"})
    .pod("shop/web-1", ip=("10.0.9.1", "fd00:9::1"), labels={"app": "web"}, node="elsewhere")
    .policy("shop/db", FROM_WEB)
)
"""One policy: `db` is isolated and hears `web`."""

MORE_PEERS = SHOP.pod("shop/web-2", ip=("10.0.9.2", "fd00:9::2"), labels={"app": "web"}, node="elsewhere")
"""Another peer, elsewhere."""

MORE_POLICIES = SHOP.policy("shop/web", FROM_CACHE)
"""Another policy, which names another group: `web` is isolated too."""


def peers(count: int) -> ClusterBuilder:
    """The shop with so many more peers elsewhere."""
    built = SHOP
    for number in range(count):
        address = f"10.1.{number // 250}.{number % 250 + 1}"
        built = built.pod(f"shop/web-more-{number}", ip=address, labels={"app": "web"}, node="elsewhere")
    return built

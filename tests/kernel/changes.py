"""Changes of a small shop that take each kind of step, and whether a state on the way is safe."""

import itertools
from collections.abc import Iterator

from controller.dataplane.ruleset import Ruleset
from controller.dataplane.settings import Settings
from controller.dataplane.simulate import Hook, Packet, Simulator, Verdict
from controller.objects.addresses import parse_address
from tests.unit.builder import ClusterBuilder, block, cluster, labels, pods, port

STRICT = Settings(gates=(4, 6), unknown_pods_denied=True)
"""Every kind of set: gates, known pods, peers, blocks, ports."""

_WEB, _DB = {"app": "web"}, {"app": "db"}
SHOP = (
    cluster()
    .ns("shop")
    .pod("shop/web", ip="10.0.0.1", labels=_WEB)
    .pod("shop/web-1", ip="10.0.9.1", labels=_WEB, node="elsewhere")
    .pod("shop/web-2", ip="10.0.9.2", labels=_WEB, node="elsewhere")
    .pod("shop/db", ip="10.0.0.3", labels=_DB, ports=["sql:5432"])
    .pod("shop/api", ip="10.0.0.2", labels={"app": "api"})
    .policy("shop/db", {"podSelector": labels(app="db"), "ingress": [{"from": [pods(app="web")]}]})
    .policy(
        "shop/web",
        {
            "podSelector": labels(app="web"),
            "policyTypes": ["Egress"],
            "egress": [{"to": [pods(app="db")], "ports": [port("sql")]}, {"to": [pods(app="api")]}],
        },
    )
    .node("node-1", "172.16.0.1", pods=["10.0.0.0/24"])
)
_ANY_BLOCKS = [block(f"10.{number}.0.0/16", f"10.{number}.1.0/24") for number in range(9, 15)]

CHANGES: dict[str, tuple[ClusterBuilder, ClusterBuilder]] = {
    "the first application": (cluster().node("node-1", "172.16.0.1"), SHOP),
    "peers go": (SHOP, SHOP.without_pod("shop/web-1").without_pod("shop/web-2")),
    "peers come": (SHOP.without_pod("shop/web-1").without_pod("shop/web-2"), SHOP),
    "a pod goes": (SHOP, SHOP.without_pod("shop/db")),
    "a pod comes": (SHOP.without_pod("shop/db"), SHOP),
    "a pod changes its part": (SHOP, SHOP.pod("shop/api", labels=_DB).pod("shop/web", labels={"app": "api"})),
    "a policy is written anew": (
        SHOP,
        SHOP.policy("shop/db", {"podSelector": labels(app="db"), "ingress": [{"from": _ANY_BLOCKS}]}),
    ),
    "all at once": (
        SHOP,
        SHOP.without_pod("shop/web-1")
        .pod("shop/web-3", ip="10.0.0.20", labels=_WEB)
        .pod("shop/db-1", ip="10.0.0.19", labels=_DB, ports=["sql:5433"])
        .pod("shop/api", labels=_WEB)
        .policy("shop/api", {"podSelector": labels(app="api")}),
    ),
}
"""What was, and what shall be."""

_LOCAL = "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.19", "10.0.0.20", "10.0.0.33"
_FAR = "10.0.9.1", "10.0.9.2", "10.9.7.7", "10.9.1.7", "192.0.2.1", "172.16.0.1"


def packets() -> Iterator[Packet]:
    """From each address that any of the changes knows to each other one."""
    values = [parse_address(text)[1] for text in (*_LOCAL, *_FAR)]
    for source, destination in itertools.permutations(values, 2):
        for number in (5432, 5433, 80):
            yield Packet(Hook.FORWARD, 4, source, destination, 6, number)
        yield Packet(Hook.INPUT, 4, source, destination, 17, 53)


def allowed(ruleset: Ruleset) -> frozenset[Packet]:
    """The packets that get through."""
    simulator = Simulator(ruleset)
    return frozenset(each for each in packets() if simulator.run(each).verdict is Verdict.ACCEPT)


def holes(held: frozenset[Packet], old: frozenset[Packet], new: frozenset[Packet]) -> frozenset[Packet]:
    """What gets through although neither the old nor the new rules let it."""
    return held - old - new


def barriers(held: frozenset[Packet], old: frozenset[Packet], new: frozenset[Packet]) -> frozenset[Packet]:
    """What does not get through although both let it."""
    return (old & new) - held

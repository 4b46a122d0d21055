"""Node views by hand, and a look into what was compiled from them."""

from collections.abc import Iterable

import msgspec

from controller.dataplane.render import rule_text
from controller.dataplane.ruleset import AddressSet, Rule, Ruleset, SetType
from controller.dataplane.simulate import (
    NEW_CONNECTION,
    Conntrack,
    Hook,
    NoConnection,
    Outcome,
    Packet,
    Verdict,
    simulate,
)
from controller.engine.rulesets import LocalPod, NodeView, PolicyRuleset, RulesetId, RulesetRule
from controller.engine.tiers import Action, Tier
from controller.objects.addresses import parse_address
from controller.objects.kinds import Direction
from tests.unit.builder import NODE, block, cluster, labels, namespaces, pods, port

OUTSIDE = "192.0.2.1"

SHOP = (
    cluster()
    .ns("shop", team="a")
    .ns("bank", team="b")
    .node(NODE, "172.16.0.1", pods=["10.0.0.0/24", "fd00::/64"])
    .pod("shop/web", ip=("10.0.0.21", "fd00::21"), labels={"app": "web"})
    .pod("shop/web-2", ip=("10.0.0.22", "fd00::22"), labels={"app": "web"})
    .pod("shop/db", ip=("10.0.0.5", "fd00::5"), labels={"app": "db"}, ports=["sql:5432"])
    .pod("bank/web", ip=("10.0.1.7", "fd00::1:7"), labels={"app": "web"}, node="node-2", ports=["sql:1"])
    .policy("shop/deny", {"policyTypes": ["Ingress", "Egress"]})
    .policy(
        "shop/db",
        {
            "podSelector": labels(app="db"),
            "ingress": [
                {"from": [pods(app="web"), namespaces(team="b")], "ports": [port("sql"), port(53, "UDP")]},
                {"from": [block("192.0.2.0/24", "192.0.2.7/32"), block("2001:db8::/32")]},
            ],
        },
    )
    .policy(
        "shop/web",
        {
            "podSelector": labels(app="web"),
            "policyTypes": ["Egress"],
            "egress": [{"to": [namespaces()], "ports": [port("sql"), port(1, end=99)]}],
        },
    )
)
"""Two nodes with both families and rules of every kind: selectors, blocks, numbers, names and ranges."""


def view(*pods: LocalPod, rulesets: Iterable[PolicyRuleset] = (), known: tuple[str, ...] = ()) -> NodeView:
    """A node with these pods; every address of theirs is known."""
    addresses = {address for pod in pods for address in pod.ips}
    return NodeView(
        node="node-1",
        pods=pods,
        rulesets={ruleset.id: ruleset for ruleset in rulesets},
        known=tuple(sorted({*addresses, *known})),
    )


def isolated(name: str, *ips: str, directions: Iterable[Direction] = (Direction.INGRESS,)) -> LocalPod:
    """A pod of namespace `shop` that may do nothing in these directions."""
    return LocalPod("shop", name, ips, tuple(directions))


def cluster_policy(
    tier: Tier,
    *actions: Action,
    name: str = "policy",
    priority: int = 0,
    direction: Direction = Direction.INGRESS,
) -> PolicyRuleset:
    """A cluster-scoped policy: a rule for each action, all of them about any peer and any port."""
    rules = (
        RulesetRule(f"spec.{direction.lower()}[{index}]", action, any_peer=True, any_port=True)
        for index, action in enumerate(actions)
    )
    return PolicyRuleset(RulesetId(tier, priority, "", name, direction), tuple(rules))


def lines(ruleset: Ruleset, chain: str) -> list[str]:
    """The rules of a chain as iptables takes them, without comments."""
    return [
        rule_text(msgspec.structs.replace(rule, comment=""), ruleset.family) for rule in rules(ruleset, chain)
    ]


def rules(ruleset: Ruleset, chain: str) -> tuple[Rule, ...]:
    """The rules of a chain. Raises StopIteration where there is none of that name."""
    return next(found.rules for found in ruleset.chains if found.name == chain)


def chain_names(ruleset: Ruleset, prefix: str = "") -> list[str]:
    """The chains whose names begin so."""
    return [chain.name for chain in ruleset.chains if chain.name.startswith(prefix)]


def sets(ruleset: Ruleset, kind: SetType) -> list[AddressSet]:
    """The sets of one type."""
    return [found for found in ruleset.sets if found.type is kind]


def packet(
    source: str,
    destination: str,
    port: int | None = 80,
    *,
    protocol: int = 6,
    hook: Hook = Hook.FORWARD,
    connection: Conntrack | NoConnection = NEW_CONNECTION,
) -> Packet:
    """A packet; a new connection through FORWARD unless a test says otherwise."""
    family, value = parse_address(source)
    return Packet(hook, family, value, parse_address(destination)[1], protocol, port, connection)


def judged(ruleset: Ruleset, packet: Packet) -> Outcome:
    """What becomes of a packet."""
    return simulate(ruleset, packet)


def passes(ruleset: Ruleset, packet: Packet) -> bool:
    """Whether a packet gets through."""
    return simulate(ruleset, packet).verdict is Verdict.ACCEPT

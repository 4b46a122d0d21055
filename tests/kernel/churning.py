"""What the churn test changes, and the transfers it watches.

Each change turns one thing on or off: a policy, a label, a pod, a peer elsewhere. Which transfers a change
denies is not written here: `evaluate` says so, of each.
"""

import time
from collections.abc import Callable, Iterator
from random import Random

from msgspec import Struct

from controller.agent.node import Drift
from controller.engine.evaluate import Evaluator
from controller.engine.resolve import Resolver
from controller.engine.rulesets import NodeView
from controller.objects.kinds import Cluster, Protocol
from tests.conformance.stepping import follow
from tests.kernel.agents import Agents
from tests.kernel.flows import Flow, Talk
from tests.kernel.mirror import mirror
from tests.kernel.netlab import Lab
from tests.kernel.wording import BOTH, EGRESS, Spec, block, egress, ingress, namespaces, pods, ports
from tests.unit.builder import ClusterBuilder

PODS = {"node-1": ["x/a", "x/b", "y/a", "y/b"], "node-2": ["x/c", "x/d", "y/c", "y/d"]}

CUT_WITHIN = 1.0
"""Seconds in which a transfer that is denied has to stand still."""
_STILL = 0.25
"""Seconds without an octet after which it does."""
_ON_ITS_WAY = 1.0
"""Seconds in which a transfer that is allowed has to move."""
_RESUMES = 8.0
"""Seconds in which one that is allowed again has to: TCP doubles its pauses while nobody answers."""


class Transfer(Struct, frozen=True):
    """A long TCP transfer."""

    source: str
    destination: str
    port: int
    talk: Talk
    family: int = 4

    def __str__(self) -> str:
        return f"{self.source} -> {self.destination} {self.talk} IPv{self.family}"


TRANSFERS = (
    Transfer("x/a", "x/b", 5001, Talk.UPLOAD),
    Transfer("x/a", "x/c", 5002, Talk.DOWNLOAD, 6),
    Transfer("y/b", "y/a", 5003, Talk.UPLOAD, 6),
    Transfer("x/c", "y/a", 5004, Talk.DOWNLOAD),
    Transfer("x/d", "x/b", 5005, Talk.UPLOAD),
    Transfer("y/a", "x/c", 5006, Talk.DOWNLOAD),
    Transfer("y/d", "x/b", 5007, Talk.UPLOAD, 6),
)
"""Four that nothing denies, within a node and between both; then one for each of the denials."""

FREE = 5000
"""A port that is open and shut as those of the transfers are."""
_PORTS = ports(FREE, *(each.port for each in TRANSFERS))

Change = Callable[[ClusterBuilder], ClusterBuilder]


def base(lab: Lab) -> ClusterBuilder:
    """x is isolated both ways, and serves its friends: x/a and x/d, and all of y."""
    serve = ingress(pods(friend="yes"), namespaces(ns="y"), ports=_PORTS) | egress(ports=_PORTS) | BOTH
    found = mirror(lab).policy("x/serve", serve)
    return _labelled(_labelled(found, lab, "x/a", friend="yes"), lab, "x/d", friend="yes")


def _labelled(found: ClusterBuilder, lab: Lab, key: str, **labels: str) -> ClusterBuilder:
    node = next(place.node for place in lab.plan.pods if place.name == key)
    return found.pod(key, node=node, labels={"pod": key.split("/")[1]} | labels)


def denials(lab: Lab) -> dict[str, Change]:
    """Each takes away what one of the transfers needs."""
    serve_x_alone = ingress(pods(friend="yes"), ports=_PORTS) | egress(ports=_PORTS) | BOTH
    return {
        "x/d is no friend any more": lambda found: _labelled(found, lab, "x/d"),
        "x serves y no more": lambda found: found.policy("x/serve", serve_x_alone),
        "y/d is locked in": lambda found: found.policy("y/lock", pods(pod="d") | EGRESS),
    }


def noises(lab: Lab) -> dict[str, Change]:
    """Changes of every kind, by which no transfer is touched."""
    blocks = [block("192.0.2.0/24", "192.0.2.8/29"), block("2001:db8::/64")]
    by_name = pods(pod="a") | {"ingress": [{"ports": ports("http")}, {}]}
    return {
        "more of x is open": _policy("x/more", ingress(pods(other="yes"), ports=ports(80))),
        "x lets blocks in": _policy("x/blocks", ingress(*blocks)),
        "x gets out to blocks": _policy("x/out", egress(block("10.0.0.0/8"), block("fd00::/8"))),
        "y is isolated and open": _policy("y/open", ingress()),
        "y/a serves by name": _policy("y/named", by_name),
        "y/b is isolated and gets out": _policy("y/out", pods(pod="b") | egress()),
        "x/a has one more label": lambda found: _labelled(found, lab, "x/a", friend="yes", more="yes"),
        "y/c goes": lambda found: found.without_pod("y/c"),
        **{f"friend {number} comes": _friend(number) for number in range(1, 9)},
    }


def _policy(key: str, spec: Spec) -> Change:
    return lambda found: found.policy(key, spec)


def _friend(number: int) -> Change:
    ips = (f"10.244.9.{number}", f"fd00:10:244:9::{number}")
    return lambda found: found.pod(f"x/peer-{number}", ip=ips, node="node-9", labels={"friend": "yes"})


class Churn:
    """A cluster that changes all the time, enforced in a lab, and transfers through it."""

    def __init__(self, lab: Lab, agents: Agents) -> None:
        self._lab = lab
        self._agents = agents
        self._noises, self._denials = noises(lab), denials(lab)
        self._on: set[str] = set()
        self._resolver, self._cluster = Resolver(), Cluster()
        self.cut = self.resumed = 0
        self.slowest_cut = 0.0

    def change(self, *names: str) -> str:
        """Turn things on or off, and have it enforced; says what."""
        self._on ^= set(names)
        found = base(self._lab)
        for name, change in (self._denials | self._noises).items():
            if name in self._on:
                found = change(found)
        before, self._cluster = self._cluster, found.build()
        follow(self._resolver, before, self._cluster)
        self._agents.apply(self._views())
        return ", ".join(f"{'' if name in self._on else 'not '}{name}" for name in names)

    def drift(self) -> dict[str, list[Drift]]:
        """How the kernels of the nodes differ from what they should hold now."""
        return self._agents.verify(self._views())

    def _views(self) -> dict[str, NodeView]:
        return {node.name: self._resolver.view(node.name) for node in self._lab.plan.nodes}

    def allows(self, transfer: Transfer) -> bool:
        """What the policies say now."""
        evaluator = Evaluator(self._cluster)
        source, destination = (
            evaluator.addresses.at(self._lab.address(place, transfer.family))
            for place in (transfer.source, transfer.destination)
        )
        return evaluator.evaluate(source, destination, Protocol.TCP, transfer.port).allowed

    def choices(self, seed: int, number: int) -> Iterator[str]:
        """So many changes, one thing each: noise, and in between a denial that lasts for three changes."""
        random = Random(seed)  # noqa: S311  to be repeatable is the point
        noisy, denying = [*self._noises], [*self._denials]
        for turn in range(number):
            denial = denying[turn // 10 % len(denying)]
            yield denial if turn % 10 in {4, 7} else random.choice(noisy)

    def flow(self, transfer: Transfer) -> Flow:
        """The transfer, to be entered."""
        return self._lab.flow(
            transfer.source, transfer.destination, transfer.port, transfer.talk, transfer.family
        )


class Watch:
    """One transfer from change to change."""

    def __init__(self, churn: Churn, transfer: Transfer, flow: Flow) -> None:
        self._churn = churn
        self.transfer = transfer
        self._flow = flow
        self._was_allowed = True
        self._heard_when_cut = 0

    def fault(self, begun: float) -> str:
        """What is wrong with it after a change that began at `begun` and is in force; "" if nothing is."""
        was, allowed = self._was_allowed, self._churn.allows(self.transfer)
        self._was_allowed = allowed
        if self._flow.ended:
            return f"it ended: {self._flow.ended}"
        if allowed and was:
            return "" if self._flow.goes_on(_ON_ITS_WAY) else "it is allowed, and stands still"
        if allowed:
            self._churn.resumed += 1
            return "" if self._flow.goes_on(_RESUMES) else "it is allowed again, and does not resume"
        if was:
            return self._cut(begun)
        return "" if self._flow.heard == self._heard_when_cut else "octets came through although it is denied"

    def _cut(self, begun: float) -> str:
        while time.monotonic() - self._flow.last_heard < _STILL:
            if time.monotonic() - begun > CUT_WITHIN + _STILL:
                return f"it is denied, and goes on after {CUT_WITHIN:g} s"
            time.sleep(0.01)
        self._heard_when_cut = self._flow.heard
        self._churn.cut += 1
        self._churn.slowest_cut = max(self._churn.slowest_cut, self._flow.last_heard - begun)
        return ""

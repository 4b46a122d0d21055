"""Random changes of a cluster, made through its API: the same seed makes the same changes.

Of a few namespaces with few labels, so that selectors hit, names come back and addresses are used again.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from controller.kube.errors import KubeError, NotFound
from controller.kube.resource import NAMESPACES, NETWORK_POLICIES, PODS
from tests.e2e.system.system import System, namespace, pod, policy

NODES = ("node-1", "node-2", "node-3")
_BREATH = 0.02
"""Seconds between two changes that only have to go on: fifty a second are many for three nodes."""
_APPS = ("web", "db", "api")
_TEAMS = ("red", "blue")
_PORTS = ({"name": "http", "containerPort": 8080}, {"name": "http", "containerPort": 8081})
_BLOCKS = (
    {"cidr": "10.244.1.0/24"},
    {"cidr": "10.244.0.0/16", "except": ["10.244.2.0/25", "10.244.3.4/30"]},
    {"cidr": "0.0.0.0/0", "except": ["10.244.1.0/24"]},
    {"cidr": "203.0.113.0/24"},
    {"cidr": "fd00::/96", "except": ["fd00::af4:100/120"]},
)


class Changes:
    """Makes changes in namespaces `PREFIX-0` and so on. Errors of the API server are raised."""

    def __init__(
        self, system: System, seed: str, *, namespaces: int = 3, pods: int = 9, policies: int = 12
    ) -> None:
        self._system = system
        self._random = Random(seed)  # noqa: S311 - changes of a test, which have to come again
        self.namespaces = [f"{seed.partition('/')[0]}-{number}" for number in range(namespaces)]
        self._most_pods = pods
        self._most_policies = policies
        self._spaces: set[str] = set()
        self._pods: dict[str, int] = {}
        self._policies: set[str] = set()
        self.made = 0
        """How many changes were made so far."""

    async def begin(self) -> None:
        """The namespaces, and half of the pods."""
        for name in self.namespaces:
            await self._put_namespace(name)
        for _ in range(self._most_pods // 2):
            await self._add_pod()

    async def one(self) -> None:
        """One more change."""
        kinds: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (14, self._add_pod),
            (10, self._delete_pod),
            (18, self._relabel_pod),
            (34, self._put_policy),
            (14, self._delete_policy),
            (8, self._relabel_namespace),
            (2, self._delete_namespace),
        ]
        weights, makers = zip(*kinds, strict=True)
        await self._random.choices(makers, weights)[0]()
        self.made += 1

    async def until(self, is_over: Callable[[], bool]) -> None:
        """Changes one after the other until it is over; what the API server refuses is tried no more."""
        while not is_over():
            with contextlib.suppress(KubeError):
                await self.one()
            await asyncio.sleep(_BREATH)

    async def end(self) -> None:
        """Remove all of it."""
        await self._system.clear(self.namespaces)

    # Each kind of change

    async def _add_pod(self) -> None:
        free = [number for number in range(self._most_pods) if number not in self._pods.values()]
        homes = [name for name in self.namespaces if name in self._spaces]
        if not free or not homes:
            await self._delete_pod()
            return
        key = f"{self._random.choice(homes)}/pod-{free[0]}"
        node, ports = self._random.choice(NODES), [self._random.choice(_PORTS)]
        await self._system.apply(pod(key, self._labels(), node=node, ports=ports))
        self._pods[key] = free[0]

    async def _delete_pod(self) -> None:
        if not self._pods:
            return
        key = self._random.choice(sorted(self._pods))
        del self._pods[key]
        home, name = key.split("/")
        await self._ignoring_absence(self._system.client.delete(PODS, name, namespace=home))
        await self._system.until_gone([key])

    async def _relabel_pod(self) -> None:
        if self._pods:
            home, name = self._random.choice(sorted(self._pods)).split("/")
            labels = {"app": None, "tier": None, **self._labels()}
            change = {"metadata": {"labels": labels}}
            await self._system.client.patch(PODS, name, change, dict[str, Any], namespace=home)

    async def _put_policy(self) -> None:
        homes = [name for name in self.namespaces if name in self._spaces]
        key = f"{self._random.choice(homes)}/policy-{self._random.randrange(self._most_policies)}"
        self._policies.add(key)
        await self._system.apply(policy(key, **self._spec()))

    async def _delete_policy(self) -> None:
        if self._policies:
            key = self._random.choice(sorted(self._policies))
            self._policies.discard(key)
            home, name = key.split("/")
            gone = self._system.client.delete(NETWORK_POLICIES, name, namespace=home)
            await self._ignoring_absence(gone)

    async def _relabel_namespace(self) -> None:
        await self._put_namespace(self._random.choice(self.namespaces))

    async def _delete_namespace(self) -> None:
        """It goes with all that is in it, and comes back empty."""
        name = self._random.choice(sorted(self._spaces))
        self._spaces.discard(name)
        self._pods = {key: each for key, each in self._pods.items() if not key.startswith(f"{name}/")}
        self._policies = {key for key in self._policies if not key.startswith(f"{name}/")}
        await self._ignoring_absence(self._system.client.delete(NAMESPACES, name))
        await self._system.until_gone(namespaces=[name])
        await self._put_namespace(name)

    async def _put_namespace(self, name: str) -> None:
        await self._system.apply(namespace(name, team=self._random.choice(_TEAMS)))
        self._spaces.add(name)

    async def _ignoring_absence(self, change: Awaitable[object]) -> None:
        with contextlib.suppress(NotFound):
            await change

    # What they say

    def _labels(self) -> dict[str, str]:
        labels = {"app": self._random.choice(_APPS)}
        if self._random.random() < 0.5:
            labels["tier"] = self._random.choice("12")
        return labels

    def _spec(self) -> dict[str, Any]:
        types = self._random.choice([["Ingress"], ["Egress"], ["Ingress", "Egress"]])
        return {
            "podSelector": self._selector(),
            "policyTypes": types,
            "ingress": [self._rule("from") for _ in range(self._random.randint(0, 2))],
            "egress": [self._rule("to") for _ in range(self._random.randint(0, 2))],
        }

    def _rule(self, peers: str) -> dict[str, Any]:
        rule: dict[str, Any] = {}
        if self._random.random() < 0.8:
            rule[peers] = [self._peer() for _ in range(self._random.randint(1, 2))]
        if self._random.random() < 0.6:
            rule["ports"] = [self._port() for _ in range(self._random.randint(1, 2))]
        return rule

    def _peer(self) -> dict[str, Any]:
        kind = self._random.choice(["pods", "namespaces", "both", "block"])
        if kind == "block":
            return {"ipBlock": self._random.choice(_BLOCKS)}
        found = {}
        if kind != "namespaces":
            found["podSelector"] = self._selector()
        if kind != "pods":
            found["namespaceSelector"] = self._random.choice(
                [{}, {"matchLabels": {"team": self._random.choice(_TEAMS)}}]
            )
        return found

    def _port(self) -> dict[str, Any]:
        protocol = self._random.choice(["TCP", "UDP"])
        return self._random.choice(
            [
                {"protocol": protocol, "port": 80},
                {"protocol": "TCP", "port": "http"},
                {"protocol": "TCP", "port": 8000, "endPort": 8080},
                {"protocol": protocol},
            ]
        )

    def _selector(self) -> dict[str, Any]:
        return self._random.choice(
            [
                {},
                {"matchLabels": {"app": self._random.choice(_APPS)}},
                {"matchExpressions": [{"key": "tier", "operator": "Exists"}]},
                {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]},
            ]
        )

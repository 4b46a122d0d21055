"""What every suite is turned into: objects that change step by step, and the verdicts expected in between.

Objects are whole manifests, as a user would write them, so that reading them is tested as well.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from controller.objects.kinds import Protocol

Manifest = dict[str, Any]
"""A Kubernetes object as YAML has it."""

ObjectKey = tuple[str, str, str]
"""(kind, namespace or "", name)."""

Pair = tuple[str, str]
"""(source, destination): a pod as `namespace/name`, anything else by its IPv4 address."""

CELLS = {".": True, "X": False}
"""Allowed and denied in a table of verdicts, as upstream prints them."""


class Probe(Struct, frozen=True):
    """Who reaches whom on one port: True where the connection must open."""

    protocol: Protocol
    port: int
    expected: Mapping[Pair, bool] = field(default_factory=dict)


class Step(Struct, frozen=True):
    """Changes, all made before the probes.

    An applied object replaces the one of its key; a namespace that is deleted takes along what lives in it.
    """

    delete: tuple[ObjectKey, ...] = ()
    apply: tuple[Manifest, ...] = ()
    probes: tuple[Probe, ...] = ()


class Scenario(Struct, frozen=True):
    """One test of a suite. `name` is short enough for a test id."""

    name: str
    steps: tuple[Step, ...]

    @property
    def pairs(self) -> int:
        """How many verdicts it asks for."""
        return sum(len(probe.expected) for step in self.steps for probe in step.probes)


class Suite(Struct, frozen=True):
    """The scenarios of one source, and what that source calls a verdict."""

    name: str
    scenarios: tuple[Scenario, ...] = ()
    unit: str = "pairs"
    absent: str = ""
    """Why there are no scenarios; "" where there are."""


def slug(text: str) -> str:
    """A title as a test id: `should support a 'deny-all' policy` -> `should-support-a-deny-all-policy`."""
    return "-".join("".join(char if char.isalnum() else " " for char in text).split())

"""One write, as a value: what it is about, what is to stand, and what became of it."""

from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from controller.engine.group_slices import SliceChanges
from controller.engine.rulesets import RulesetId
from controller.objects.resources import NodePolicySpec, PeerGroupSliceSpec
from controller.operator.held import HeldNode, HeldSlice
from controller.operator.worklist import Work


class Kind(StrEnum):
    """Our two kinds of objects."""

    NODE_POLICY = "NodePolicy"
    SLICE = "PeerGroupSlice"


class Target(NamedTuple):
    """What a piece of work is about: the NodePolicy of a node, all slices of a group, or one stray slice."""

    kind: Kind
    name: str
    is_stray: bool = False


class Place(Struct, frozen=True):
    """Where a slice stands: its name, and the group and index that it says it is of."""

    name: str
    group: str
    index: int


class Step(Struct, frozen=True, kw_only=True):
    """One write. Without `spec` a deletion; `held` is what stands there as far as is known, if anything.

    `left_out` are the policies that a NodePolicy has no room for.
    """

    work: Work[Target]
    kind: Kind
    name: str
    spec: NodePolicySpec | PeerGroupSliceSpec | None = None
    digest: str = ""
    held: HeldNode | HeldSlice | None = None
    group: str = ""
    index: int = 0
    change: SliceChanges = SliceChanges()
    left_out: tuple[RulesetId, ...] = ()

    @property
    def is_needed(self) -> bool:
        """Whether what stands differs from what should."""
        if self.spec is None:
            return self.held is not None
        return self.held is None or self.held.digest != self.digest


class Identity(Struct, frozen=True):
    """Which version of which object stands, and what it holds; "" and 0 of what is not known."""

    uid: str = ""
    version: str = ""
    digest: str = ""
    generation: int = 0


def named_groups(spec: NodePolicySpec) -> tuple[str, ...]:
    """The ids of every group that a NodePolicy names."""
    return (*(each.id for each in spec.groups), *(each.id for each in spec.named_port_groups))

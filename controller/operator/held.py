"""Our own objects as they stand in the API server, reduced to what the next write has to know.

Kept for every object of a cluster, so small: a digest says what an object holds.
"""

from msgspec import Struct

from controller.engine.changes import Member
from controller.engine.identity import digest
from controller.objects.resources import PeerGroupSliceSpec

UNKNOWN = "?"
"""The digest of what cannot be read, or is not what its own digest says: it equals none, not even itself."""


class HeldSlice(Struct):
    """A PeerGroupSlice. `members` only until they were taken over into the packing of its group."""

    uid: str
    version: str
    digest: str
    count: int = 0
    members: tuple[Member, ...] = ()


class HeldNode(Struct):
    """A NodePolicy. `groups` are the ids it names, `observed` the digest that its agent says it enforces.

    `generation` changes with the spec and not with the status; 0: not known.
    """

    uid: str
    version: str
    digest: str
    groups: tuple[str, ...] = ()
    observed: str = ""
    generation: int = 0


def is_newer(version: str, known: str) -> bool:
    """Whether a resourceVersion is after one that is known; where they are no numbers, whether it differs."""
    if version.isdecimal() and known.isdecimal():
        return int(version) > int(known)
    return version != known


def slice_digest(group: str, spec: PeerGroupSliceSpec) -> str:
    """What a slice holds: agents find it by the label of its group, so that this counts too."""
    members = (*spec.addresses, *(f"{each.address} {each.protocol} {each.port}" for each in spec.endpoints))
    return digest((group, spec.selector, str(spec.index), str(spec.count), *members))

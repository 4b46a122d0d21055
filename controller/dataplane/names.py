"""Names of chains and sets: content-addressed, short enough for the kernel, the same on every node.

A name is a hash of what the thing *is* (the rules of a profile, the identity of a peer list), so a thing that
did not change keeps its name, its counters and its place in the kernel (docs/dataplane.md).
"""

import re
from collections.abc import Iterable

from controller.engine.identity import digest
from controller.objects.kinds import Direction

ENTRY = "PODGATE"
"""Reached from FORWARD: every packet to or from a pod that crosses the node."""

_BUCKET = re.compile(r"PODGATE-[EI][0-9A-F]+")

NODE_ENTRY = "PODGATE-IN"
"""Reached from INPUT: pods talking to their own node (rule 2.41)."""

DENY = "PODGATE-D"
"""Where a packet ends that no rule allowed."""

AUDIT = {direction: f"PODGATE-A{direction[0]}" for direction in Direction}
"""By direction, where a packet is counted that no rule of policies in audit mode allowed; then it goes on."""

LOG_PREFIXES = {
    DENY: "podgate-drop",
    **{chain: f"podgate-audit-{direction.lower()}" for direction, chain in AUDIT.items()},
}
"""What logged packets of these chains carry."""


def dispatch(direction: Direction) -> str:
    """The chain that finds the profile of a pod: `PODGATE-E`, `PODGATE-I`."""
    return f"PODGATE-{direction[0]}"


def bucket(direction: Direction, nibbles: str) -> str:
    """Pods whose address ends in these hexadecimal digits, last digit first: `PODGATE-E7`, `PODGATE-E7A`."""
    return f"{dispatch(direction)}{nibbles.upper()}"


def profile(direction: Direction, content: Iterable[str]) -> str:
    """The chain of one distinct rule list."""
    return f"PODGATE-{direction[0]}P-{digest(content)}"


def is_profile(chain: str) -> bool:
    """Whether a chain is a profile by its name."""
    return chain.startswith(("PODGATE-EP-", "PODGATE-IP-"))


def is_bucket(chain: str) -> bool:
    """Whether a chain is a bucket of the dispatch, of any level, by its name."""
    return _BUCKET.fullmatch(chain) is not None


def address_set(family: int, content: Iterable[str]) -> str:
    """A set of addresses; the family is part of the name, as ipset has one name space for both."""
    return f"pg{family}-{digest(content)}"


def isolated_set(family: int, direction: Direction) -> str:
    """The gate set of one direction: addresses of the local pods that are isolated in it."""
    return f"pg{family}-iso-{direction[0].lower()}"


def known_set(family: int) -> str:
    """Addresses of every local pod that is known, isolated or not."""
    return f"pg{family}-known"

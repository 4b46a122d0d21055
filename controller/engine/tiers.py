"""Tiers and actions: the order in which policies of different kinds are asked.

A v1 NetworkPolicy lives in the middle tier and can only accept; the two other tiers belong to
ClusterNetworkPolicy (rules 4.11 to 4.16). They are part of the values from the start so that they are data,
not a redesign.
"""

from enum import IntEnum, StrEnum


class Tier(IntEnum):
    """Asked from low to high; the first final answer wins (rule 4.11)."""

    ADMIN = 0
    NETWORK_POLICY = 1
    BASELINE = 2


class Action(StrEnum):
    """What a matching rule does: accept, deny, or pass on to the next tier (rules 4.13 to 4.15)."""

    ACCEPT = "Accept"
    DENY = "Deny"
    PASS = "Pass"  # noqa: S105 - no password

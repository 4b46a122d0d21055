"""What a change of the cluster changed in the results: the work list of whoever publishes or compiles them.

Changes accumulate until they are taken, and what comes and goes in between cancels out, so that a slow reader
sees fewer changes, never more.
"""

from msgspec import Struct, field

from controller.engine.rulesets import Endpoint, NamedPortGroup, PodGroup, RulesetId

PodKey = tuple[str, str]
"""(namespace, name)."""

GroupRef = PodGroup | NamedPortGroup
Member = str | Endpoint


class Changes(Struct):
    """Net differences since the last take.

    `members`: by group, each member that came (True) or went (False). `rulesets`: added, edited or removed.
    `nodes`: those where pods, isolation or the list of rulesets may differ; members are not counted here, so
    a peer that comes or goes names no node at all.
    """

    members: dict[GroupRef, dict[Member, bool]] = field(default_factory=dict)
    rulesets: set[RulesetId] = field(default_factory=set)
    pods: set[PodKey] = field(default_factory=set)
    nodes: set[str] = field(default_factory=set)

    def member(self, group: GroupRef, member: Member, *, present: bool) -> None:
        """Record that a member came or went; its return cancels its leaving. O(1)."""
        members = self.members.setdefault(group, {})
        if members.get(member, present) != present:
            del members[member]
            if not members:
                del self.members[group]
        else:
            members[member] = present

    def __bool__(self) -> bool:
        return bool(self.members or self.rulesets or self.pods or self.nodes)


class ChangeLog:
    """Where changes are collected until they are taken. Not `recording` is for a start, when all is new."""

    def __init__(self) -> None:
        self.changes = Changes()
        self.recording = True

    def take(self) -> Changes:
        """The changes since the last call."""
        taken, self.changes = self.changes, Changes()
        return taken

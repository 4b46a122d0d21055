"""Which policies a change of connectivity comes from: the lines a reviewer should look at.

A connection opens or closes because one of its ends changed its mind. For that end the policies that
speak for the change are looked up: the rule that now allows, the policy that now isolates, the rule or
the isolation that is gone. Policies that are the same on both sides are only named when no other is.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum

from msgspec import Struct

from controller.engine.connections import ConnectionSet
from controller.engine.difference import Change, Difference
from controller.engine.endpoints import Endpoint
from controller.engine.evaluate import Decision, Evaluator, Reason, Verdict, line_of
from controller.engine.externals import Partition
from controller.engine.matrix import pod_id
from controller.engine.rows import owners_of
from controller.objects.findings import Source
from controller.objects.kinds import Cluster, Direction, NetworkPolicy, Protocol

Service = tuple[Protocol | None, int | None]


class Act(StrEnum):
    """What a policy does that it did not do before, or does no longer."""

    ALLOWS = "allows"
    ISOLATES = "isolates"
    NO_LONGER_ALLOWS = "no longer allows"
    NO_LONGER_ISOLATES = "no longer isolates"


class Edit(StrEnum):
    """What happened to the policy itself.

    Where it is unchanged, the pods or namespaces it speaks of are not.
    """

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    MODE = "mode changed"
    """Its rules are the same: it is enforced and was audited, or the other way round."""
    UNCHANGED = "unchanged"


class Cause(Struct, frozen=True, order=True):
    """A policy and what it does; `path` is the field that matters ("" for the whole).

    `source` is a place on the new side, or on the old side where the policy was removed.
    """

    namespace: str
    name: str
    act: Act
    edit: Edit
    path: str = ""
    source: Source = Source()

    @property
    def policy(self) -> str:
        """`shop/allow-web`."""
        return f"{self.namespace}/{self.name}"


class Causes:
    """Looks up causes for the changes between two clusters.

    A lookup takes O(rules of the policies of two pods), once for all pairs that rules cannot tell apart.
    """

    def __init__(self, old: Cluster, new: Cluster, found: Difference) -> None:
        partition = Partition.of((*old.policies, *new.policies))
        outside = {
            each.id: (Endpoint(each.family, each.addresses.intervals[0][0]),) for each in found.new.externals
        }
        self._old = _Side(old, partition, outside)
        self._new = _Side(new, partition, outside)
        self._one_sided = {pod_id(pod) for pod in (*found.pods_added, *found.pods_removed)}
        self._known: dict[object, tuple[Cause, ...]] = {}

    def of_added(self, change: Change) -> tuple[Cause, ...]:
        """Why there is a connection that was not; none where a new pod says it all."""
        service = _sample(change.added)
        return self._choose(change, self._remembered(change, service, self._added))

    def of_removed(self, change: Change) -> tuple[Cause, ...]:
        """Why there is no connection where one was; none where a pod that is gone says it all."""
        service = _sample(change.removed)
        return self._choose(change, self._remembered(change, service, self._removed))

    def _choose(self, change: Change, causes: tuple[Cause, ...]) -> tuple[Cause, ...]:
        edited = tuple(cause for cause in causes if cause.edit is not Edit.UNCHANGED)
        if edited or not self._one_sided.isdisjoint((change.source, change.destination)):
            return edited
        return causes

    def _remembered(self, change: Change, service: Service, look_up: "_LookUp") -> tuple[Cause, ...]:
        pair = (change.source, change.destination)
        kinds = tuple(side.kind(ident) for side in (self._old, self._new) for ident in pair)
        key = (look_up.__name__, service, kinds, pair if None in kinds else None)
        if key not in self._known:
            self._known[key] = tuple(sorted(set(look_up(change, service))))
        return self._known[key]

    def _added(self, change: Change, service: Service) -> Iterator[Cause]:
        after, before = _verdict(self._new, change, service), _verdict(self._old, change, service)
        for now in _decisions(after):
            then = _decision(before, now.direction)
            if then is not None and then.allowed:
                continue  # this end had nothing against it before
            if not now.audited:
                yield from self._matched(now, Act.ALLOWS, self._new)
            if then is not None and not _isolates(now):
                yield from self._isolating(then, Act.NO_LONGER_ISOLATES, self._old)

    def _removed(self, change: Change, service: Service) -> Iterator[Cause]:
        after, before = _verdict(self._new, change, service), _verdict(self._old, change, service)
        for now in _decisions(after):
            then = _decision(before, now.direction)
            if now.allowed:
                continue
            if then is not None and not then.audited:
                yield from self._matched(then, Act.NO_LONGER_ALLOWS, self._old)
            if then is None or not _isolates(then):
                yield from self._isolating(now, Act.ISOLATES, self._new)

    def _matched(self, decision: Decision, act: Act, side: "_Side") -> Iterator[Cause]:
        for match in decision.matches:
            yield self._cause(
                side.policies[match.namespace, match.name], act, match.peer or match.rule, match.line
            )

    def _isolating(self, decision: Decision, act: Act, side: "_Side") -> Iterator[Cause]:
        for policy in decision.isolating:
            yield self._cause(side.policies[policy.key], act, "", policy.source.line)

    def _cause(self, policy: NetworkPolicy, act: Act, path: str, line: int) -> Cause:
        """Points into the new side where the policy is still there: that is what is being reviewed."""
        before, after = self._old.policies.get(policy.key), self._new.policies.get(policy.key)
        if after is not None and act in {Act.NO_LONGER_ALLOWS, Act.NO_LONGER_ISOLATES}:
            policy, line = after, line_of(after, path)
        source = Source(policy.source.file, line or policy.source.line) if policy.source.file else Source()
        return Cause(policy.namespace, policy.name, act, self._edit(before, after), path, source)

    def _edit(self, old: NetworkPolicy | None, new: NetworkPolicy | None) -> Edit:
        """What happened to a policy; where it is written does not matter."""
        if old is None or new is None:
            return Edit.ADDED if old is None else Edit.REMOVED
        if _meaning(old) != _meaning(new):
            return Edit.CHANGED
        same_mode = self._old.evaluator.mode(old) is self._new.evaluator.mode(new)
        return Edit.UNCHANGED if same_mode else Edit.MODE


_LookUp = Callable[[Change, Service], Iterator[Cause]]


class _Side:
    """One cluster: verdicts, what is where, and who is like whom."""

    def __init__(
        self, cluster: Cluster, partition: Partition, outside: Mapping[str, tuple[Endpoint, ...]]
    ) -> None:
        self.evaluator = Evaluator(cluster)
        self.policies = {policy.key: policy for policy in cluster.policies}
        self._partition = partition
        self._ends = {
            **outside,
            **{pod_id(pod): self.evaluator.addresses.of_pod(pod) for pod in cluster.pods},
        }
        self._kinds: dict[str, int | None] = {}
        self._numbers: dict[object, int] = {}

    def ends(self, ident: str) -> tuple[Endpoint, ...]:
        """The addresses of a pod or external range; none for a pod that is not on this side."""
        return self._ends.get(ident, ())

    def kind(self, ident: str) -> int | None:
        """A number that endpoints share which no rule can tell apart.

        None for one that is like no other: node traffic, a shared address.
        """
        if ident not in self._kinds:
            ends = self.ends(ident)
            special = any(end.node or len(end.pods) > 1 for end in ends)
            value = tuple(map(self._kind_of_end, ends))
            self._kinds[ident] = None if special else self._numbers.setdefault(value, len(self._numbers))
        return self._kinds[ident]

    def _kind_of_end(self, end: Endpoint) -> object:
        return end.family, self._partition.mask(end.family, end.value), owners_of(end)


def _verdict(side: _Side, change: Change, service: Service) -> Verdict | None:
    """The verdict that speaks for a pair: of the addresses that are let through, else of the first."""
    verdicts = [
        side.evaluator.evaluate(source, destination, *service)
        for source in side.ends(change.source)
        for destination in side.ends(change.destination)
        if source.family == destination.family
    ]
    return next((verdict for verdict in verdicts if verdict.allowed), verdicts[0] if verdicts else None)


def _sample(connections: ConnectionSet) -> Service:
    """One port of a set to ask about: the lowest of the first protocol that has any."""
    for protocol in Protocol:
        for first, _ in connections.ports(protocol):
            return protocol, first
    return None, None


def _decisions(verdict: Verdict | None) -> tuple[Decision, ...]:
    return () if verdict is None else (verdict.egress, verdict.ingress)


def _decision(verdict: Verdict | None, direction: Direction) -> Decision | None:
    if verdict is None:
        return None
    return verdict.egress if direction is Direction.EGRESS else verdict.ingress


def _isolates(decision: Decision) -> bool:
    """Whether a policy in force has a say at this end."""
    return decision.reason is not Reason.NOT_ISOLATED and not decision.audited


def _meaning(policy: NetworkPolicy) -> object:
    return policy.pod_selector, policy.directions, policy.ingress, policy.egress

"""Which policies a change of connectivity comes from: the lines a reviewer should look at.

A connection opens or closes because one of its ends changed its mind. For that end the policies that
speak for the change are looked up: the rule that now allows, the policy that now isolates, the rule or
the isolation that is gone. Policies that are the same on both sides are only named when no other is.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import lru_cache

from msgspec import Struct

from controller.engine.connections import ConnectionSet
from controller.engine.difference import Change, Difference
from controller.engine.endpoints import Endpoint
from controller.engine.evaluate import Decision, Evaluator, Reason, Verdict, line_of
from controller.engine.matrix import pod_id
from controller.objects.findings import Source
from controller.objects.kinds import Cluster, Direction, NetworkPolicy, Protocol

Service = tuple[Protocol | None, int | None]


class Act(StrEnum):
    """What a policy does that it did not do before, or does no longer."""

    ALLOWS = "allows"
    ISOLATES = "isolates"
    NO_LONGER_ALLOWS = "no longer allows"
    NO_LONGER_ISOLATES = "no longer isolates"


class Cause(Struct, frozen=True, order=True):
    """A policy and what it does; `path` is the field that matters ("" for the whole).

    `source` is a place on the new side, or on the old side where the policy is gone (`gone`).
    """

    namespace: str
    name: str
    act: Act
    path: str = ""
    source: Source = Source()
    gone: bool = False

    @property
    def policy(self) -> str:
        """`shop/allow-web`."""
        return f"{self.namespace}/{self.name}"


class Causes:
    """Looks up causes for the changes between two clusters. O(rules of the policies of two pods) a change."""

    def __init__(self, old: Cluster, new: Cluster, found: Difference) -> None:
        self._old = _Side(old)
        self._new = _Side(new)
        self._externals = {
            each.id: (Endpoint(each.family, each.addresses.intervals[0][0]),) for each in found.new.externals
        }
        self._changed = {
            key
            for key in self._old.policies.keys() | self._new.policies.keys()
            if not _alike(self._old.policies.get(key), self._new.policies.get(key))
        }

    def of_added(self, change: Change) -> tuple[Cause, ...]:
        """Why there is a connection that was not; none where a new pod is all there is to say."""
        return self._choose(self._added(change))

    def of_removed(self, change: Change) -> tuple[Cause, ...]:
        """Why there is no connection where one was; none where the pod is gone."""
        return self._choose(self._removed(change))

    def _choose(self, found: Iterable[Cause]) -> tuple[Cause, ...]:
        causes = sorted(set(found))
        return tuple(cause for cause in causes if (cause.namespace, cause.name) in self._changed) or tuple(
            causes
        )

    def _added(self, change: Change) -> Iterator[Cause]:
        after = self._verdict(self._new, change, _sample(change.added))
        before = self._verdict(self._old, change, _sample(change.added))
        for now in _decisions(after):
            then = _decision(before, now.direction)
            if then is not None and then.allowed:
                continue  # this end had nothing against it before
            yield from self._matched(now, Act.ALLOWS, self._new)
            if then is not None and now.reason is Reason.NOT_ISOLATED:
                yield from self._isolating(then, Act.NO_LONGER_ISOLATES, self._old)

    def _removed(self, change: Change) -> Iterator[Cause]:
        after = self._verdict(self._new, change, _sample(change.removed))
        before = self._verdict(self._old, change, _sample(change.removed))
        for now in _decisions(after):
            then = _decision(before, now.direction)
            if now.allowed:
                continue
            if then is not None:
                yield from self._matched(then, Act.NO_LONGER_ALLOWS, self._old)
            if then is None or then.reason is Reason.NOT_ISOLATED:
                yield from self._isolating(now, Act.ISOLATES, self._new)

    def _verdict(self, side: "_Side", change: Change, service: Service) -> Verdict | None:
        """The verdict that speaks for a pair: of the addresses that are let through, else of the first."""
        sources = self._externals.get(change.source) or side.ends(change.source)
        destinations = self._externals.get(change.destination) or side.ends(change.destination)
        verdicts = [
            side.evaluator.evaluate(source, destination, *service)
            for source in sources
            for destination in destinations
            if source.family == destination.family
        ]
        return next((verdict for verdict in verdicts if verdict.allowed), verdicts[0] if verdicts else None)

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
        still = self._new.policies.get(policy.key)
        if act in {Act.ALLOWS, Act.ISOLATES} or still is None:
            source = (
                Source(policy.source.file, line or policy.source.line) if policy.source.file else Source()
            )
            return Cause(policy.namespace, policy.name, act, path, source, gone=still is None)
        place = Source(still.source.file, line_of(still, path)) if still.source.file else Source()
        return Cause(policy.namespace, policy.name, act, path, place)


class _Side:
    """One cluster: verdicts, and what is where."""

    def __init__(self, cluster: Cluster) -> None:
        self.evaluator = Evaluator(cluster)
        self.policies = {policy.key: policy for policy in cluster.policies}
        self._pods = {pod_id(pod): pod for pod in cluster.pods}
        self.ends = lru_cache(maxsize=None)(self._ends)

    def _ends(self, ident: str) -> tuple[Endpoint, ...]:
        pod = self._pods.get(ident)
        return () if pod is None else self.evaluator.addresses.of_pod(pod)


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


def _alike(old: NetworkPolicy | None, new: NetworkPolicy | None) -> bool:
    """Whether two policies say the same, wherever they are written."""
    if old is None or new is None:
        return False
    return (old.pod_selector, old.directions, old.ingress, old.egress) == (
        new.pod_selector, new.directions, new.ingress, new.egress
    )  # fmt: skip

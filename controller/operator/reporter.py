"""Tells users about their policies and pods, as Events, while this replica leads.

Looks at what changed a few seconds ago, not at what changes: a policy is applied before its pods, and a
rollout changes a namespace a hundred times. Whether a policy is enforced is asked of the nodes: each must
report the digest of a NodePolicy that stands as it should.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from msgspec import Raw, Struct

from controller.engine.changes import Changes, PodKey
from controller.kube.client import ApiClient
from controller.kube.errors import AlreadyExists, KubeError, NotFound
from controller.kube.resource import Resource
from controller.objects.kinds import Mode, NetworkPolicy
from controller.operator.event_log import Due, EventLog
from controller.operator.intake import Intake, Key
from controller.operator.judgement import enforced, judge_pod, judge_policy, nodes_of, policy_subject
from controller.operator.metrics import Metrics
from controller.operator.notices import Subject
from controller.operator.publication import Publication
from controller.telemetry.logs import logger

EVENTS = Resource("events.k8s.io", "v1", "events", namespaced=True, kind="Event")
CONTROLLER = "podgate.dev/operator"

_BREATH = 0.005
_PATIENCE = 60.0
"""The longest time between two looks at whether a policy is enforced."""

_INSTANCE_MAX = 128

_Edition = tuple[str, int, Mode]
"""uid, generation and mode of a policy: of each, that it is in force everywhere is told once."""

Waiting = TypeVar("Waiting", str, PodKey)

_log = logger("operator.reporter")


class ReportTiming(Struct, frozen=True):
    """Seconds: how often to look, and how long something must be left alone before it is looked at.

    `again`: how often everything is looked at, changed or not. What is still so is to be told again, and what
    was too much to tell.
    """

    look: float = 1.0
    settle: float = 10.0
    again: float = 300.0


class _Awaited(Struct):
    look_at: float
    pause: float


class Reporter:
    """One for each term; what was told is forgotten with it, and found again by the names of the Events."""

    def __init__(  # noqa: PLR0913 - its surroundings
        self,
        client: ApiClient,
        intake: Intake,
        publication: Publication,
        metrics: Metrics,
        *,
        identity: str,
        timing: ReportTiming = ReportTiming(),  # noqa: B008 - frozen
    ) -> None:
        self.log = EventLog()
        self._client = client
        self._intake = intake
        self._publication = publication
        self._metrics = metrics
        self._identity = identity
        self._timing = timing
        self._namespaces: dict[str, float] = {}
        self._pods: dict[PodKey, float] = {}
        self._awaited: dict[Key, _Awaited] = {}
        self._pods_told: dict[PodKey, Subject] = {}
        self._editions: dict[Key, _Edition] = {}
        self._again_at = time.monotonic() + timing.again

    def begin(self) -> None:
        """What is there at the start is looked at once; that it is enforced was told by an earlier leader."""
        self._mark_all(time.monotonic())
        for policy in self._intake.resolver.policies():
            self._editions[policy.key] = self._edition(policy)

    def _mark_all(self, now: float) -> None:
        """Every namespace with policies and every quarantined pod; what changed since waits as it does."""
        for policy in self._intake.resolver.policies():
            self._namespaces.setdefault(policy.namespace, now)
        for key in self._intake.quarantined:
            self._pods.setdefault(key, now)

    def absorb(self, changes: Changes) -> None:
        """The engine's results changed: namespaces are looked at once they have settled. O(changes)."""
        now = time.monotonic()
        for namespace, _ in changes.pods:
            self._namespaces[namespace] = now
        for ruleset in changes.rulesets:
            self._namespaces[ruleset.namespace] = now
        for key in changes.pods:
            if key in self._intake.quarantined or key in self._pods_told:
                self._pods[key] = now

    async def run(self) -> None:
        """Look and tell for ever."""
        while True:
            await asyncio.sleep(self._timing.look)
            await self._look()
            await self._tell()

    async def _look(self) -> None:
        breathed = time.monotonic()
        for _ in self._looks(breathed):
            if time.monotonic() - breathed > _BREATH:
                await asyncio.sleep(0)
                breathed = time.monotonic()

    def _looks(self, now: float) -> Iterator[None]:
        """Everything that is due, piece by piece."""
        if now >= self._again_at:
            self._again_at = now + self._timing.again
            self._mark_all(now)
        due = _due(self._namespaces, now - self._timing.settle)
        policies: dict[str, list[NetworkPolicy]] = {namespace: [] for namespace in due}
        if due:
            for policy in self._intake.resolver.policies():
                if policy.namespace in policies:
                    policies[policy.namespace].append(policy)
            self._forget_absent(policies)
        for policy in (each for found in policies.values() for each in found):
            self._look_at_policy(policy, now)
            yield
        for key in _due(self._pods, now - self._timing.settle):
            self._look_at_pod(key, now)
            yield
        for key, awaited in list(self._awaited.items()):
            if awaited.look_at <= now:
                self._look_at_enforcement(key, awaited, now)
                yield

    def _forget_absent(self, policies: Mapping[str, Iterable[NetworkPolicy]]) -> None:
        """Those of these namespaces that are gone, or are others under the same name now. O(all policies)."""
        uids = {policy.key: policy.uid for found in policies.values() for policy in found}
        for key, (uid, _, _) in list(self._editions.items()):
            if key[0] in policies and uids.get(key) != uid:
                del self._editions[key]
                self._awaited.pop(key, None)
                self.log.forget(Subject("networking.k8s.io/v1", "NetworkPolicy", *key, uid))

    def _look_at_policy(self, policy: NetworkPolicy, now: float) -> None:
        try:
            notices = judge_policy(self._intake.resolver, policy)
        except Exception:  # noqa: BLE001 - a bug in a check must not end what publishes
            _log.exception("cannot judge a policy; please report it", policy="/".join(policy.key))
            notices = ()
        self.log.state(policy_subject(policy), notices, now)
        edition = self._edition(policy)
        if self._editions.get(policy.key) != edition:
            self._editions[policy.key] = edition
            self._awaited[policy.key] = _Awaited(now, self._timing.look)

    def _edition(self, policy: NetworkPolicy) -> _Edition:
        return policy.uid, policy.generation, self._intake.resolver.mode_of(policy)

    def _look_at_pod(self, key: PodKey, now: float) -> None:
        found = self._intake.quarantined.get(key)
        subject = self._pods_told.pop(key, None)
        if found is None:
            if subject is not None:
                self.log.forget(subject)
            return
        self._pods_told[key] = subject = Subject("v1", "Pod", *key, found.uid)
        self.log.state(
            subject, judge_pod(subject, found.findings, is_shut=self._intake.resolver.is_shut(key[0])), now
        )

    def _look_at_enforcement(self, key: Key, awaited: _Awaited, now: float) -> None:
        """Whether every node with pods of a policy enforces what stands, and that is the newest."""
        policy = self._intake.resolver.policy(key)
        if policy is None:
            del self._awaited[key]
            return
        nodes = nodes_of(self._intake.resolver, policy)
        if nodes and all(map(self._is_enforced, nodes)):
            del self._awaited[key]
            self.log.happened(enforced(policy, len(nodes), self._intake.resolver.mode_of(policy)))
            return
        awaited.look_at = now + awaited.pause
        awaited.pause = min(_PATIENCE, 2 * awaited.pause)

    def _is_enforced(self, node: str) -> bool:
        held = self._publication.nodes.get(node)
        return held is not None and held.observed == held.digest and self._publication.is_settled(node)

    async def _tell(self) -> None:
        while (due := self.log.take(time.monotonic())) is not None:
            reason = due.notice.topic.reason.value
            try:
                await self._write(due)
            except KubeError as error:
                self.log.failed(due)
                self._metrics.api_errors.labels("event").inc()
                self._metrics.events.labels(reason, type(error).__name__).inc()
                _log.debug("cannot write an Event", name=due.name, err=str(error))
                return
            self._metrics.events.labels(reason, "ok").inc()
            _log.debug("Event", reason=reason, object=due.notice.topic.subject.name, note=due.notice.note)

    async def _write(self, due: Due) -> None:
        home = due.notice.topic.subject.namespace or "default"
        now = _time_text(time.time())
        if due.times == 1:
            try:
                await self._client.create(EVENTS, self._event(due, home, now), Raw)
            except AlreadyExists:
                pass  # told before this process began: it is so once more
            else:
                return
        series = {"series": {"count": max(2, due.times), "lastObservedTime": now}}
        try:
            await self._client.patch(EVENTS, due.name, series, Raw, namespace=home)
        except NotFound:  # forgotten by now
            await self._client.create(EVENTS, self._event(due, home, now), Raw)

    def _event(self, due: Due, home: str, now: str) -> dict[str, Any]:
        subject = due.notice.topic.subject
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": due.name, "namespace": home},
            "eventTime": now,
            "reportingController": CONTROLLER,
            "reportingInstance": self._identity[:_INSTANCE_MAX],
            "action": due.notice.action,
            "reason": due.notice.topic.reason.value,
            "regarding": {
                "apiVersion": subject.api_version,
                "kind": subject.kind,
                "namespace": subject.namespace,
                "name": subject.name,
                "uid": subject.uid,
            },
            "note": due.notice.note,
            "type": "Warning" if due.notice.is_warning else "Normal",
        }


def _due(moments: dict[Waiting, float], before: float) -> list[Waiting]:
    """The keys of moments up to one, taken out."""
    found = [key for key, at in moments.items() if at <= before]
    for key in found:
        del moments[key]
    return found


def _time_text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

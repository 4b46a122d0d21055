"""What this node has to enforce: the newest NodePolicy that can be enforced whole, with the newest members.

A new NodePolicy takes effect when every group it names is complete, and at the latest when the time to wait
is over: then pods that need an incomplete group are isolated without rules, and all others are enforced.
Until then the NodePolicy before it is followed. One that cannot be understood changes nothing, and one that
is deleted leaves its rules in force: to know less is no reason to allow more.

Pure: it is told what arrives and what time it is, and answers what to enforce.
"""

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar, cast

from msgspec import Struct
from msgspec.structs import replace

from controller.agent.peer_groups import NEVER, PeerGroups
from controller.engine.changes import GroupRef, PodKey
from controller.engine.group_slices import Members
from controller.engine.node_policies import ResourceError, Share, ShareReader, spec_digest
from controller.engine.rulesets import Endpoint, LocalPod, NodeView
from controller.engine.translate import groups_of
from controller.objects.resources import TRIGGER_ANNOTATION, NodePolicy, NodePolicySpec, PeerGroupSlice

LIST_PATIENCE = 60.0
"""Seconds that a NodePolicy waits for the first list of slices: longer only where they cannot be listed."""
_NO_ADDRESSES: frozenset[str] = frozenset()
_NO_ENDPOINTS: frozenset[Endpoint] = frozenset()
_NEWS_KEPT = 1000
_NAMED_IN_MESSAGES = 5

Key = TypeVar("Key")


class News(NamedTuple):
    """An event that changes what is enforced: when it arrived here, and what it says began it all."""

    received: float
    trigger: str


class Problem(NamedTuple):
    """Why less is enforced than was asked for: a word for programs, a sentence for people."""

    reason: str
    message: str


class Target(Struct, frozen=True):
    """What to enforce, and from which spec; `news` are the events that it takes account of first.

    `pending` are the pods that are isolated without rules because groups of theirs are `incomplete`.
    """

    view: NodeView
    digest: str
    pending: tuple[PodKey, ...] = ()
    incomplete: tuple[str, ...] = ()
    news: tuple[News, ...] = ()


class Snapshot(NamedTuple):
    """What is enforced, as it can be kept: the spec, and the members of its groups by id."""

    spec: NodePolicySpec
    members: Mapping[str, Members]


class _Accepted(NamedTuple):
    """A spec that was understood, since when, and the groups it names."""

    spec: NodePolicySpec
    share: Share
    since: float
    groups: frozenset[str]


class Subscription:
    """The NodePolicy of one node and the slices of its groups, as far as they are known.

    `patience` is how many seconds to wait for groups to become complete. With `awaits_list` nothing that
    arrives is enforced before the first complete list, as rules of an earlier run are in force; but if that
    list does not come, new isolation does not wait for ever.
    """

    def __init__(self, node: str, patience: float, *, awaits_list: bool = False) -> None:
        self._node = node
        self._patience = patience
        self._groups = PeerGroups(patience, awaits_list=awaits_list)
        self._reader = ShareReader()
        self._current: _Accepted | None = None
        self._next: _Accepted | None = None
        self._usable_at = 0.0
        self._listed_at = 0.0
        self._is_list_overdue = False
        self._news: deque[News] = deque(maxlen=_NEWS_KEPT)
        self._next_news: deque[News] = deque(maxlen=_NEWS_KEPT)
        self._changed = False
        self._deadline = NEVER
        self._target: Target | None = None
        self._fault = ""
        self._digest = ""
        self._is_gone = False

    # What arrives

    def put_policy(self, policy: NodePolicy, now: float) -> bool:
        """Take the NodePolicy; returns whether anything is to be done, or said, because of it."""
        returned = self._set_gone(gone=False)
        newest = self._next or self._current
        if newest is not None and newest.spec == policy.spec:
            was_fault, self._fault = self._fault, ""
            return returned or bool(was_fault)
        try:
            accepted = self._understood(policy.spec, now)
        except ResourceError as error:
            self._fault = str(error)
            return True
        self._fault = ""
        self._next = accepted._replace(since=now if self._next is None else self._next.since)
        self._next_news.append(News(now, policy.metadata.annotations.get(TRIGGER_ANNOTATION, "")))
        self._groups.want(self.wanted, now)
        return True

    def refuse_policy(self, fault: str) -> None:
        """The NodePolicy is there and cannot be read at all."""
        self._set_gone(gone=False)
        self._fault = fault

    def remove_policy(self) -> None:
        """There is no NodePolicy, or none any more; what it said stays in force."""
        self._set_gone(gone=True)

    def put_slice(self, found: PeerGroupSlice, now: float) -> bool:
        """Take a slice; returns whether anything is to be done because of it."""
        news = News(now, found.metadata.annotations.get(TRIGGER_ANNOTATION, ""))
        return self._note(self._groups.put(found, now), news)

    def refuse_slice(self, name: str, fault: str, now: float) -> bool:
        """A slice is there and cannot be read: its group is incomplete."""
        return self._note(self._groups.refuse(name, fault, now), News(now, ""))

    def remove_slice(self, name: str, now: float) -> bool:
        """A slice is gone; returns whether anything is to be done because of it."""
        return self._note(self._groups.remove(name, now), News(now, ""))

    def slices_listed(self, now: float) -> None:
        """Every slice of the wanted groups was listed."""
        if self._groups.awaits_list:
            self._listed_at = now
            self._is_list_overdue = False
            self._groups.heard(now)
            self._changed = True

    def restore(self, snapshot: Snapshot, now: float, usable_at: float) -> None:
        """Go on from what an earlier run enforced, from `usable_at` on if nothing newer is listed by then.

        Raises ResourceError where it cannot be understood.
        """
        self._current = self._understood(snapshot.spec, now)
        self._groups.restore(snapshot.members)
        self._groups.want(self._current.groups, now)
        self._usable_at = usable_at
        self._changed = True

    # What it amounts to

    def take(self, now: float) -> Target | None:
        """What to enforce from now on; None where that has not changed since it was last taken.

        O(groups), and O(members) of those that changed.
        """
        self._promote(now)
        if self._current is None or (self._awaits_list and now < self._usable_at):
            return None
        if not self._changed and now < self._deadline:
            return None
        self._changed = False
        self._deadline = self._groups.deadline(now)
        target = self._build(self._current, now)
        if self._target is not None and _is_same(self._target, target):
            return None
        self._news.clear()
        self._target = target
        return target

    def deadline(self, now: float) -> float:
        """When to `take` again though nothing arrives; NEVER if no time runs."""
        found = min(self._deadline, self._groups.deadline(now))
        if self._next is not None:
            found = min(found, self._limit(self._next))
        if self._current is not None and self._awaits_list and self._usable_at > now:
            found = min(found, self._usable_at)
        return found

    @property
    def wanted(self) -> frozenset[str]:
        """The groups whose slices are needed: of what is enforced, and of what will be."""
        accepted = (each.groups for each in (self._current, self._next) if each is not None)
        return frozenset().union(*accepted)

    @property
    def is_gone(self) -> bool:
        """Whether the API server has no NodePolicy for this node, for all we know."""
        return self._is_gone

    @property
    def snapshot(self) -> Snapshot | None:
        """What is enforced; None before there is anything. O(groups)."""
        if self._current is None:
            return None
        members = {group: self._groups.members(group, 0.0, at_any_age=True) for group in self._current.groups}
        return Snapshot(
            self._current.spec, {key: found for key, found in members.items() if found is not None}
        )

    def problems(self) -> list[Problem]:
        """Why less is enforced than was asked for, the worst first."""
        return [*self._problems()]

    def _problems(self) -> Iterator[Problem]:
        if self._fault:
            kept = "the last one that could stays in force" if self._current else "nothing is enforced yet"
            yield Problem(
                "NodePolicyUnreadable", f"the NodePolicy cannot be understood: {self._fault}; {kept}"
            )
        if self._is_list_overdue:
            yield Problem(
                "SlicesNotListed",
                "the slices of peer groups cannot be listed: members are those of an earlier run, and pods "
                "whose groups have none are isolated; may this agent list peergroupslices.podgate.dev?",
            )
        target = self._target
        if target is not None and target.incomplete:
            pods = _some(["/".join(pod) for pod in target.pending]) or "none on this node"
            yield Problem(
                "GroupsIncomplete",
                f"slices are missing of the peer groups {_some(target.incomplete)}{self._slice_faults()}; "
                f"pods that need them are isolated without rules: {pods}",
            )
        newest = self._next or self._current
        if newest is not None and self._digest:
            yield Problem(
                "DigestMismatch",
                f"spec.digest is {newest.spec.digest}, that of the content {self._digest}: another version "
                "wrote it, or somebody edited it; it is enforced as it is",
            )

    def _slice_faults(self) -> str:
        faults = [f"{name} {fault}" for name, fault in sorted(self._groups.faults.items())]
        return f" ({_some(faults)})" if faults else ""

    # Inside

    def _understood(self, spec: NodePolicySpec, now: float) -> _Accepted:
        share = self._reader.read(self._node, spec)
        for ruleset in share.view.rulesets.values():
            for group in groups_of(ruleset):
                if group not in share.groups and group not in share.named_ports:
                    raise ResourceError(
                        f"spec.rulesets[{ruleset.id}]: needs a group that is not listed: {group}"
                    )
        digest = spec_digest(spec)
        self._digest = "" if digest == spec.digest else digest
        return _Accepted(spec, share, now, frozenset((*share.groups.values(), *share.named_ports.values())))

    def _set_gone(self, *, gone: bool) -> bool:
        changed = self._is_gone is not gone
        self._is_gone = gone
        self._changed = self._changed or changed  # how long members of incomplete groups count depends on it
        return changed

    def _note(self, changed: frozenset[str], news: News) -> bool:
        if self._current is not None and changed & self._current.groups:
            self._news.append(news)
            self._changed = True
            return True
        if self._next is not None and changed & self._next.groups:
            self._next_news.append(news)
            return True
        return False

    def _promote(self, now: float) -> None:
        """Let the newest NodePolicy take effect when its time has come."""
        if self._next is None or (self._awaits_list and now < self._limit(self._next)):
            return
        self._is_list_overdue = self._groups.awaits_list
        waits = any(self._groups.is_waited_for(group, now) for group in self._next.groups)
        if waits and now < self._limit(self._next):
            return
        self._current, self._next = self._next, None
        self._groups.want(self._current.groups, now)
        self._news.extend(self._next_news)
        self._next_news.clear()
        self._changed = True

    def _limit(self, accepted: _Accepted) -> float:
        patience = LIST_PATIENCE if self._awaits_list else self._patience
        return max(accepted.since, self._listed_at) + patience

    @property
    def _awaits_list(self) -> bool:
        return self._groups.awaits_list and not self._is_list_overdue

    @property
    def _is_blind(self) -> bool:
        """Whether members that are known may be old, and nothing newer can be expected."""
        return self._is_gone or self._is_list_overdue

    def _build(self, current: _Accepted, now: float) -> Target:
        share, before = current.share, None if self._target is None else self._target.view
        addresses = {
            group: self._addresses(key, now, before.groups.get(group) if before else None)
            for group, key in share.groups.items()
        }
        endpoints = {
            group: self._endpoints(key, now, before.named_ports.get(group) if before else None)
            for group, key in share.named_ports.items()
        }
        lacking: dict[GroupRef, str] = {
            **{group: share.groups[group] for group, found in addresses.items() if found is None},
            **{group: share.named_ports[group] for group, found in endpoints.items() if found is None},
        }
        pods, pending = _isolated(share.view, lacking) if lacking else (share.view.pods, ())
        return Target(
            view=replace(
                share.view,
                pods=pods,
                groups={group: found or _NO_ADDRESSES for group, found in addresses.items()},
                named_ports={group: found or _NO_ENDPOINTS for group, found in endpoints.items()},
            ),
            digest=current.spec.digest,
            pending=pending,
            incomplete=tuple(sorted(lacking.values())),
            news=tuple(self._news),
        )

    def _addresses(self, key: str, now: float, before: frozenset[str] | None) -> frozenset[str] | None:
        """The members of a group of pods; None while they are not known, or are something else."""
        members = self._groups.members(key, now, at_any_age=self._is_blind)
        if (
            members is not None
            and members is not before
            and not all(isinstance(each, str) for each in members)
        ):
            return None
        return cast("frozenset[str] | None", members)

    def _endpoints(
        self, key: str, now: float, before: frozenset[Endpoint] | None
    ) -> frozenset[Endpoint] | None:
        """The members of a group of named ports, as `_addresses`."""
        members = self._groups.members(key, now, at_any_age=self._is_blind)
        if members is not None and members is not before and any(isinstance(each, str) for each in members):
            return None
        return cast("frozenset[Endpoint] | None", members)


def _isolated(
    view: NodeView, lacking: Collection[GroupRef]
) -> tuple[tuple[LocalPod, ...], tuple[PodKey, ...]]:
    """The pods with those isolated that need a group which is lacking, and which those are.

    Isolated in every direction in which they have rules: of rules that deny, none may be missing. Policies in
    audit mode take nothing from anybody here either: they are left out, as without a group they miscount.
    """
    blocked = {
        key for key, ruleset in view.rulesets.items() if any(each in lacking for each in groups_of(ruleset))
    }
    pods, pending = [], []
    for pod in view.pods:
        if blocked.isdisjoint(pod.rulesets):
            pods.append(pod)
            continue
        enforced = tuple(ruleset for ruleset in pod.rulesets if not pod.audits(ruleset))
        if blocked.isdisjoint(enforced):
            pods.append(replace(pod, rulesets=enforced, audited=()))
            continue
        directions = {*pod.isolated, *(ruleset.direction for ruleset in enforced)}
        pods.append(replace(pod, isolated=tuple(sorted(directions)), rulesets=(), audited=()))
        pending.append((pod.namespace, pod.name))
    return tuple(pods), tuple(pending)


def _is_same(old: Target, new: Target) -> bool:
    """Whether nothing is to be done to get from one to the other.

    O(groups + pods), and O(members) of groups that were put together anew.
    """
    return (
        old.digest == new.digest
        and old.incomplete == new.incomplete
        and old.view.rulesets is new.view.rulesets
        and old.view.pods == new.view.pods
        and _same_values(old.view.groups, new.view.groups)
        and _same_values(old.view.named_ports, new.view.named_ports)
    )


def _same_values(old: Mapping[Key, object], new: Mapping[Key, object]) -> bool:
    return old.keys() == new.keys() and all(
        old[key] is value or old[key] == value for key, value in new.items()
    )


def _some(texts: Sequence[str]) -> str:
    shown = ", ".join(texts[:_NAMED_IN_MESSAGES])
    left = len(texts) - _NAMED_IN_MESSAGES
    return f"{shown} and {left} more" if left > 0 else shown

"""What should stand in the API server, what does, and what is to be written next. Pure: no input, no output.

One `Publication` serves one term as leader. At its start it takes over what stands (`slice_seen`,
`node_seen`), then `begin` compares it with what the engine says; from then on `absorb` hears what changed and
`take` gives the next write. Order between objects: a NodePolicy waits until every group that it names is
complete; the slices of a group are deleted only when no NodePolicy has named it for a while.

Bounded by the size of the cluster: dirty sets, never queues of events.
"""

import heapq
from collections.abc import Iterable, Iterator

from controller.engine.changes import Changes, GroupRef, Member, PodKey
from controller.engine.group_slices import SliceChanges
from controller.engine.node_policies import PolicyVersion, group_id, left_out, node_policy_spec
from controller.engine.resolve import Resolver
from controller.engine.rulesets import NamedPortGroup, RulesetId
from controller.engine.translate import groups_of
from controller.objects.names import dns_subdomain_problem
from controller.objects.resources import NodePolicySpec, PeerGroupSliceSpec, slice_name
from controller.operator.group_state import GroupState
from controller.operator.held import UNKNOWN, HeldNode, HeldSlice, is_newer
from controller.operator.steps import Identity, Kind, Place, Step, Target, named_groups
from controller.operator.waiting import WaitingRoom
from controller.operator.worklist import Moment, Work, WorkList

_LONGEST_DELAY = 60.0
"""Seconds between two writes of a NodePolicy of which the API server does not keep what it is given."""
GRACE = 60.0
"""Seconds that slices outlive the last NodePolicy that named their group: agents may be that late."""


class Publication:
    """The state of one term as leader. `now` is monotonic time, in seconds."""

    def __init__(self, resolver: Resolver, grace: float = GRACE) -> None:
        self.work: WorkList[Target] = WorkList(lane_of=lambda target: target.kind)
        self.groups: dict[str, GroupState] = {}
        self.nodes: dict[str, HeldNode] = {}
        self.has_begun = False
        self._resolver = resolver
        self._grace = grace
        self._references: dict[RulesetId, tuple[str, ...]] = {}
        self._strays: dict[str, HeldSlice] = {}
        self._waiting: WaitingRoom[str] = WaitingRoom()
        self._writing: dict[str, str] = {}
        self._mangled: dict[str, int] = {}
        self._deadlines: list[tuple[float, str]] = []

    # What changes

    def begin(self, at: Moment) -> Iterator[None]:
        """Compare everything that stands with what the engine says. Iterate to the end before `take`.

        Yields between groups, so that a loop can do something else: at 150,000 pods this takes seconds.
        """
        self.has_begun = True
        refs: dict[str, GroupRef] = {}
        for ruleset in self._resolver.rulesets:
            refs |= self._refer(ruleset)
        for group, ref in refs.items():
            state = self.groups[group]
            if state.users and not state.is_followed:  # a change meanwhile may have started it already
                self._start(state, ref, at)
                yield
        for state in list(self.groups.values()):
            self._check_use(state, at.now)
            for held in state.held.values():
                held.members = ()
        for name in {*self._resolver.nodes(), *self.nodes}:
            self._mark_node(name, at, urgent=False)

    def absorb(self, changes: Changes, at: Moment) -> None:
        """The engine's results changed. O(what changed)."""
        if not self.has_begun:
            return
        fresh = self._refer_all(changes.rulesets, at)
        for ref, members in changes.members.items():
            state = self.groups.get(group_id(ref))
            if state is None or not state.is_followed or state.id in fresh:
                continue
            change = state.change(members)
            if any(change):
                self._mark_group(state, at, urgent=change.tightens or not state.is_complete)
        urgent = bool(changes.rulesets) or any(map(self._concerns, changes.pods))
        for node in changes.nodes:
            self._mark_node(node, at, urgent=urgent)

    def _concerns(self, key: PodKey) -> bool:
        """Whether a pod that changed makes its node urgent: it went, or is isolated and has an address.

        The address of any other pod only has to become known.
        """
        live = self._resolver.inventory.pods.get(key)
        if live is None:
            return True
        return bool(live.ips) and (live.label_set is None or bool(live.label_set.policies))

    def _refer_all(self, rulesets: Iterable[RulesetId], at: Moment) -> set[str]:
        """Count the references of rulesets anew; returns the groups that begin to be referenced by it."""
        before: set[str] = set()
        refs: dict[str, GroupRef] = {}
        for ruleset in rulesets:
            before.update(self._references.get(ruleset, ()))
            refs |= self._refer(ruleset)
        fresh = {group for group in refs if self.groups[group].users and not self.groups[group].is_followed}
        for group in fresh:
            self._start(self.groups[group], refs[group], at)
        for group in before:
            self._check_use(self.groups[group], at.now)
        return fresh

    def _refer(self, ruleset: RulesetId) -> dict[str, GroupRef]:
        """Count the references of one ruleset, in place of those it had."""
        found = self._resolver.rulesets.get(ruleset)
        refs = {group_id(ref): ref for ref in groups_of(found)} if found is not None else {}
        for group in refs:
            self._state(group).users += 1
        for group in self._references.pop(ruleset, ()):
            self.groups[group].users -= 1
        if found is not None:
            self._references[ruleset] = tuple(refs)
        return refs

    def _start(self, state: GroupState, ref: GroupRef, at: Moment) -> None:
        changes = state.start(ref, self._members(ref))
        if any(changes):
            self._mark_group(state, at, urgent=changes.tightens or not state.is_complete)

    def _members(self, ref: GroupRef) -> frozenset[Member]:
        if isinstance(ref, NamedPortGroup):
            return frozenset[Member](self._resolver.endpoints(ref))
        return frozenset[Member](self._resolver.members(ref))

    def _state(self, group: str) -> GroupState:
        state = self.groups.get(group)
        if state is None:
            state = self.groups[group] = GroupState(group)
        return state

    def _check_use(self, state: GroupState, now: float) -> None:
        """A group that no ruleset references is not followed; one that nobody names goes after the grace."""
        if state.users or not self.has_begun:
            return
        state.is_followed = False
        if not state.readers and state.deadline is None and not state.is_expired:
            state.deadline = now + self._grace
            heapq.heappush(self._deadlines, (state.deadline, state.id))

    def _mark_group(self, state: GroupState, at: Moment, *, urgent: bool) -> None:
        self.work.mark(Target(Kind.SLICE, state.id), at, urgent=urgent)

    def _mark_node(self, name: str, at: Moment, *, urgent: bool) -> None:
        """A name that no object can have is the name of no node, and has no agent."""
        if name in self.nodes or (name and not dns_subdomain_problem(name)):
            self.work.mark(Target(Kind.NODE_POLICY, name), at, urgent=urgent)

    # What stands

    def slice_seen(self, place: Place, held: HeldSlice, at: Moment) -> bool:
        """A slice stands, or stands otherwise than before; returns whether others made it differ.

        One under a name that is not that of its group and index confuses agents: it is deleted.
        """
        if place.index < 0 or place.name != slice_name(place.group, place.index):
            self._strays[place.name] = held
            self.work.mark(Target(Kind.SLICE, place.name, is_stray=True), at, urgent=True)
            return True
        state = self._state(place.group)
        known = state.held.get(place.index)
        if known is not None and known.uid == held.uid and not is_newer(held.version, known.version):
            return False
        state.held[place.index] = held
        if not state.is_followed:  # `begin` will see it, or nobody wants it
            self._check_use(state, at.now)
            return False
        held.members = ()
        if not state.wants(place.index):
            return self._put_right(state, SliceChanges(gone=(place.index,)), at)
        return not state.stands(place.index) and self._put_right(
            state, SliceChanges(grown=(place.index,)), at
        )

    def slice_gone(self, place: Place, uid: str, at: Moment) -> bool:
        """A slice does not stand any more; returns whether others took it away."""
        self._strays.pop(place.name, None)
        state = self.groups.get(place.group)
        known = state.held.get(place.index) if state is not None else None
        if state is None or known is None or known.uid != uid:
            return False
        del state.held[place.index]
        if not state.is_followed or not state.wants(place.index):
            return False
        state.is_complete = False
        return self._put_right(state, SliceChanges(grown=(place.index,)), at)

    def _put_right(self, state: GroupState, change: SliceChanges, at: Moment) -> bool:
        """Note a difference; returns False where it was noted already, or may be of our own making."""
        noted = {*state.pending.grown, *state.pending.shrunk, *state.pending.gone}
        is_ours = noted.issuperset({*change.grown, *change.gone})
        is_ours = is_ours or self.work.is_in_flight(Target(Kind.SLICE, state.id))
        state.note(change)
        self._mark_group(state, at, urgent=True)
        return not is_ours

    def node_seen(self, name: str, held: HeldNode, at: Moment) -> bool:
        """A NodePolicy stands, or stands otherwise than before; returns whether others changed its spec."""
        known = self.nodes.get(name)
        is_known = known is not None and known.uid == held.uid and not is_newer(held.version, known.version)
        if held.digest != UNKNOWN:
            self._mangled.pop(name, None)
        elif (
            is_known and known is not None and known.version == held.version != "" and known.digest != UNKNOWN
        ):
            is_known = False  # of the very write that we think stands, other content was stored
        if is_known:
            return False
        self.nodes[name] = held
        self._read(known.groups if known else (), held.groups, at.now)
        is_old = known is not None and (known.uid, known.digest) == (held.uid, held.digest)
        is_ours = held.digest == self._writing.get(name, "")
        if not self.has_begun or is_old or is_ours:
            return False
        if held.digest == UNKNOWN:
            self._write_again(name, at)
        else:
            self._mark_node(name, at, urgent=True)
        return True

    def _write_again(self, name: str, at: Moment) -> None:
        """What stands is not what was written; ever later, as the API server may leave out the same again."""
        times = self._mangled[name] = self._mangled.get(name, -1) + 1
        delay = min(_LONGEST_DELAY, 2.0 ** min(times, 10)) if times else 0.0
        self.work.mark(Target(Kind.NODE_POLICY, name), at, urgent=True, delay=delay)

    def node_gone(self, name: str, uid: str, at: Moment) -> bool:
        """A NodePolicy does not stand any more; returns whether others took it away."""
        known = self.nodes.get(name)
        if known is None or known.uid != uid:
            return False
        del self.nodes[name]
        self._read(known.groups, (), at.now)
        if not self.has_begun or not self._resolver.has_node(name):
            return False
        self._mark_node(name, at, urgent=True)
        return True

    def _read(self, before: Iterable[str], after: Iterable[str], now: float) -> None:
        """The groups that a standing NodePolicy names are others now."""
        for group in after:
            self._state(group).readers += 1
        for group in before:
            state = self._state(group)
            state.readers -= 1
            self._check_use(state, now)

    # What is to be written

    def take(self, now: float) -> Step | None:
        """The next write, if any is due; it must be answered by `wrote`, `unneeded` or `failed`.

        None also where only bookkeeping was due: ask again while `has_due`.
        """
        self._expire(now)
        work = self.work.take(now)
        if work is None:
            return None
        if work.key.kind is Kind.NODE_POLICY:
            return self._node_step(work, now)
        return self._stray_step(work, now) if work.key.is_stray else self._group_step(work, now)

    def has_due(self, now: float) -> bool:
        """Whether `take` has anything to do."""
        return self.work.has_due(now) or bool(self._deadlines and self._deadlines[0][0] <= now)

    def next_at(self) -> float | None:
        """When something will be due that is not yet; None if nothing waits for a moment."""
        moments = [self.work.next_at(), self._deadlines[0][0] if self._deadlines else None]
        return min((each for each in moments if each is not None), default=None)

    def wrote(self, step: Step, found: Identity, now: float) -> None:
        """A step is done: what it says stands, as `found`."""
        if step.kind is Kind.NODE_POLICY:
            self._wrote_node(step, found, now)
        elif step.work.key.is_stray:
            self._strays.pop(step.name, None)
            self.work.gone(step.work.key, now)
        else:
            self._wrote_slice(step, found, now)

    def unneeded(self, step: Step, now: float) -> None:
        """What a step says stood there already."""
        self._writing.pop(step.name, None)
        if step.kind is Kind.SLICE and not step.work.key.is_stray:
            self._go_on(self.groups[step.group], step.work, now)
        elif step.spec is None:
            self.work.gone(step.work.key, now)
        else:
            self.work.unchanged(step.work.key, now)

    def failed(self, step: Step, now: float, delay: float, *, refused: bool = False) -> None:
        """A step could not be done. `refused`: the API server will not take it, however often it is asked.

        What it was about to write stays noted: without an answer it may have been written all the same.
        """
        if step.kind is Kind.SLICE and not step.work.key.is_stray:
            state = self.groups[step.group]
            state.note(step.change)
            if refused:
                state.is_refused = True
                self._let_go(state, now)
        self.work.failed(step.work, now, delay)

    def _expire(self, now: float) -> None:
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, group = heapq.heappop(self._deadlines)
            state = self.groups.get(group)
            if state is None or state.deadline != deadline:
                continue
            state.deadline = None
            if not state.readers and not state.users:
                state.is_expired = True
                self._mark_group(state, Moment(now), urgent=False)

    def _stray_step(self, work: Work[Target], now: float) -> Step | None:
        held = self._strays.get(work.key.name)
        if held is None:
            self.work.gone(work.key, now)
            return None
        return Step(work=work, kind=Kind.SLICE, name=work.key.name, held=held)

    def _group_step(self, work: Work[Target], now: float) -> Step | None:
        state = self.groups.get(work.key.name)
        if state is None:
            self.work.gone(work.key, now)
            return None
        step = state.next_step()
        if step is None:
            self._settle(state, work, now)
            return None
        return Step(
            work=work,
            kind=Kind.SLICE,
            name=slice_name(state.id, step.index),
            spec=step.spec,
            digest=step.digest,
            held=state.held.get(step.index),
            group=state.id,
            index=step.index,
            change=step.change,
        )

    def _wrote_slice(self, step: Step, found: Identity, now: float) -> None:
        state = self.groups[step.group]
        if step.spec is None:
            state.held.pop(step.index, None)
            if state.is_followed and state.wants(step.index):  # given up, and needed again since
                state.is_complete = False
                state.note(SliceChanges(grown=(step.index,)))
        else:
            known = state.held.get(step.index)
            if known is None or known.uid != found.uid or is_newer(found.version, known.version):
                count = step.spec.count if isinstance(step.spec, PeerGroupSliceSpec) else 0
                state.held[step.index] = HeldSlice(found.uid, found.version, step.digest, count)
        self._go_on(state, step.work, now)

    def _go_on(self, state: GroupState, work: Work[Target], now: float) -> None:
        """One slice of a group is done: the next one at once, or the group is as it should be."""
        if state.has_more:
            self.work.again(work, now)
        else:
            self._settle(state, work, now)

    def _settle(self, state: GroupState, work: Work[Target], now: float) -> None:
        if state.is_expired:
            del self.groups[state.id]
            self.work.gone(work.key, now)
            return
        self.work.written(work.key, now)
        if state.is_followed:
            state.is_complete = True
            state.is_refused = False
            self._let_go(state, now)

    # NodePolicies wait for groups

    def _node_step(self, work: Work[Target], now: float) -> Step | None:
        name = work.key.name
        waited = self._waiting.leave(name)
        if waited is not None:
            work = Work(work.key, work.pending.joined(waited))
        held = self.nodes.get(name)
        if not self._resolver.has_node(name):
            return Step(work=work, kind=Kind.NODE_POLICY, name=name, held=held)
        share = self._resolver.share(name)
        spec = node_policy_spec(share, self._version_of)
        # Of what it has room for: groups of policies that are left out keep nobody waiting.
        missing = {group for group in named_groups(spec) if not self.groups[group].is_ready}
        if missing:
            self._wait(work, missing, now)
            return None
        self._writing[name] = spec.digest
        return Step(
            work=work,
            kind=Kind.NODE_POLICY,
            name=name,
            spec=spec,
            digest=spec.digest,
            held=held,
            left_out=tuple(left_out(share, spec)) if len(spec.rulesets) < len(share.rulesets) else (),
        )

    def _version_of(self, ruleset: RulesetId) -> PolicyVersion:
        policy = self._resolver.policy((ruleset.namespace, ruleset.name))
        return PolicyVersion(policy.uid, policy.generation) if policy is not None else PolicyVersion("", 0)

    def _wait(self, work: Work[Target], missing: set[str], now: float) -> None:
        self._waiting.enter(work.key.name, missing, work.pending)
        for group in missing:
            if self.groups[group].has_more:  # ahead of groups that nobody waits for
                self._mark_group(self.groups[group], Moment(now, work.pending.trigger), urgent=True)
        self.work.unchanged(work.key, now)

    def _let_go(self, state: GroupState, now: float) -> None:
        """A group is complete: the nodes that waited for nothing else are written."""
        for name, pending in self._waiting.complete(state.id):
            self._mark_node(name, Moment(now, pending.trigger), urgent=pending.urgent)

    def _wrote_node(self, step: Step, found: Identity, now: float) -> None:
        self._writing.pop(step.name, None)
        known = self.nodes.get(step.name)
        if not isinstance(step.spec, NodePolicySpec):
            self._mangled.pop(step.name, None)
            if known is not None:
                del self.nodes[step.name]
                self._read(known.groups, (), now)
            self.work.gone(step.work.key, now)
            return
        if known is None or known.uid != found.uid or is_newer(found.version, known.version):
            groups = named_groups(step.spec)
            observed = known.observed if known is not None and known.uid == found.uid else ""
            self.nodes[step.name] = HeldNode(
                found.uid, found.version, step.digest, groups, observed, found.generation
            )
            self._read(known.groups if known else (), groups, now)
        self.work.written(step.work.key, now)
        if self.nodes[step.name].digest == UNKNOWN:
            self._write_again(step.name, Moment(now))

    # Figures

    @property
    def members(self) -> int:
        """Members of all groups, each as often as it is in one. O(slices)."""
        return sum(state.packing.size for state in self.groups.values() if state.packing is not None)

    @property
    def slices(self) -> int:
        """Slices that stand. O(groups)."""
        return sum(len(state.held) for state in self.groups.values()) + len(self._strays)

    @property
    def backlog(self) -> int:
        """Objects that differ from what stands, whether or not it is their turn."""
        return len(self.work) + self.work.in_flight + len(self._waiting)

    def oldest_age(self, now: float) -> float:
        """Seconds since the oldest difference that still stands. O(objects that wait)."""
        waiting = self._waiting.oldest()
        return max(self.work.oldest_age(now), 0.0 if waiting is None else now - waiting)

    def is_settled(self, node: str) -> bool:
        """Whether the NodePolicy of a node stands as it should."""
        target = Target(Kind.NODE_POLICY, node)
        is_busy = target in self.work or self.work.is_in_flight(target) or node in self._waiting
        return self.has_begun and not is_busy

"""Whether the API server holds what the policies say: its NodePolicies and slices, computed afresh.

Pure. What the operator should have published is computed from policies, pods, namespaces and nodes, and
compared part by part, so that a fault names the pod, the policy or the group and not two long objects.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from controller.engine.changes import GroupRef, Member
from controller.engine.group_slices import selector_text, slice_members
from controller.engine.node_policies import (
    PolicyVersion,
    ResourceError,
    group_id,
    node_policy_spec,
    spec_digest,
)
from controller.engine.resolve import Resolver
from controller.engine.rulesets import NamedPortGroup, RulesetId
from controller.objects.names import dns_subdomain_problem
from controller.objects.resources import (
    NodePod,
    NodePolicy,
    NodePolicySpec,
    PeerGroupSlice,
    Ruleset,
    group_of,
    slice_name,
)

_NAMED = 3
"""Members and parts that one fault names; it counts the others."""

Part = TypeVar("Part")


class Fault(NamedTuple):
    """One way in which something is not as it should be: the object, and what is wrong with it."""

    object: str
    text: str

    def __str__(self) -> str:
        return f"{self.object} {self.text}"


class Published(Struct, frozen=True):
    """Podgate's objects as they stand. `unreadable` are those that do not decode, and why."""

    node_policies: tuple[NodePolicy, ...] = ()
    slices: tuple[PeerGroupSlice, ...] = ()
    unreadable: tuple[Fault, ...] = ()


class Comparison(NamedTuple):
    """What differs, how many nodes and groups were compared, and the groups that nothing names any more."""

    faults: list[Fault]
    nodes: int
    groups: int
    unused: int


def compare(resolver: Resolver, found: Published, only: Collection[str] = ()) -> Comparison:
    """How what stands differs from what the policies say; of some nodes, or of all.

    O(nodes x their pods + members of groups).
    """
    standing = {each.metadata.name: each for each in found.node_policies if _counts(each.metadata.name, only)}
    nodes = [name for name in resolver.nodes() if not dns_subdomain_problem(name) and _counts(name, only)]
    faults = list(found.unreadable)
    wanted: dict[str, GroupRef] = {}
    unreadable = {fault.object for fault in found.unreadable}
    for name in nodes:
        share = resolver.share(name)
        spec = node_policy_spec(share, partial(_version_of, resolver))
        written = {*(each.id for each in spec.groups), *(each.id for each in spec.named_port_groups)}
        refs: tuple[GroupRef, ...] = (*share.groups, *share.named_ports)
        wanted |= {key: ref for ref in refs if (key := group_id(ref)) in written}
        held = standing.get(name)
        if held is None and node_object(name) not in unreadable:
            faults.append(Fault(node_object(name), "is missing: the operator has not written it"))
        elif held is not None:
            faults += (Fault(node_object(name), text) for text in _spec_differences(held.spec, spec))
    known = {*nodes}
    faults += (
        Fault(node_object(name), "should not be there: no such node, and no pod on it")
        for name in sorted(standing)
        if name not in known
    )
    groups = _by_group(found.slices)
    for key, ref in sorted(wanted.items()):
        faults += (
            Fault(*each) for each in _group_faults(key, ref, groups.get(key, ()), _members(resolver, ref))
        )
    faults += () if only else _misplaced(found.slices)
    return Comparison(faults, len(nodes), len(wanted), len({key for key in groups if key} - wanted.keys()))


def node_object(name: str) -> str:
    """A NodePolicy as faults name it."""
    return f"NodePolicy {name}"


def slice_object(name: str) -> str:
    """A PeerGroupSlice as faults name it."""
    return f"PeerGroupSlice {name}"


def _counts(name: str, only: Collection[str]) -> bool:
    return not only or name in only


def _version_of(resolver: Resolver, ruleset: RulesetId) -> PolicyVersion:
    policy = resolver.policy((ruleset.namespace, ruleset.name))
    return PolicyVersion(policy.uid, policy.generation) if policy is not None else PolicyVersion("", 0)


def _members(resolver: Resolver, ref: GroupRef) -> frozenset[Member]:
    if isinstance(ref, NamedPortGroup):
        return frozenset[Member](resolver.endpoints(ref))
    return frozenset[Member](resolver.members(ref))


# NodePolicies


def _spec_differences(held: NodePolicySpec, wanted: NodePolicySpec) -> Iterator[str]:
    if held == wanted:
        return
    yield from _keyed("pod", held.pods, wanted.pods, _pod_key, _pod_difference)
    yield from _keyed("ruleset", held.rulesets, wanted.rulesets, _id, _ruleset_difference)
    yield from _keyed("group", held.groups, wanted.groups, _id, _other_selectors)
    yield from _keyed("group", held.named_port_groups, wanted.named_port_groups, _id, _other_selectors)
    yield from _listed("address", held.addresses, wanted.addresses)
    yield from _listed("pod CIDR", held.pod_cidrs, wanted.pod_cidrs)
    if held.mode != wanted.mode:
        yield f"says that the mode is {held.mode}, and the other nodes' is {wanted.mode}"
    if held.requires != wanted.requires:
        yield f"requires {list(held.requires)} and should require {list(wanted.requires)}"
    if spec_digest(held) != held.digest:
        yield f"says its digest is {held.digest}, and that of its content is {spec_digest(held)}"
    elif _sorted(held) == _sorted(wanted):
        yield "holds the right parts in another order"


def _sorted(spec: NodePolicySpec) -> NodePolicySpec:
    """Without what is compared elsewhere: the order of the parts, and the digest."""
    return replace(
        spec,
        digest="",
        pods=tuple(sorted(spec.pods, key=_pod_key)),
        rulesets=tuple(sorted(spec.rulesets, key=_id)),
        groups=tuple(sorted(spec.groups, key=_id)),
        named_port_groups=tuple(sorted(spec.named_port_groups, key=_id)),
        addresses=tuple(sorted(spec.addresses)),
        pod_cidrs=tuple(sorted(spec.pod_cidrs)),
    )


def _keyed(
    word: str,
    held: Iterable[Part],
    wanted: Iterable[Part],
    key_of: Callable[[Part], str],
    difference: Callable[[Part, Part], str],
) -> Iterator[str]:
    """The parts of a list that are in one of two only, or differ."""
    has, needs = {key_of(each): each for each in held}, {key_of(each): each for each in wanted}
    for key in sorted(has.keys() | needs.keys()):
        if key not in has:
            yield f"lacks {word} {key}"
        elif key not in needs:
            yield f"holds {word} {key} and should not"
        elif has[key] != needs[key]:
            yield f"{word} {key}: {difference(has[key], needs[key])}"


def _listed(word: str, held: Iterable[str], wanted: Iterable[str]) -> Iterator[str]:
    has, needs = {*held}, {*wanted}
    if lacking := sorted(needs - has):
        yield f"lacks {word} {_some(lacking)}"
    if surplus := sorted(has - needs):
        yield f"holds {word} {_some(surplus)} and should not"


def _pod_key(pod: NodePod) -> str:
    return f"{pod.namespace}/{pod.name}"


def _id(part: object) -> str:
    return str(getattr(part, "id"))  # noqa: B009 - rulesets and both kinds of groups have one


def _pod_difference(held: NodePod, wanted: NodePod) -> str:
    fields = (
        ("addresses", held.ips, wanted.ips),
        ("isolation", held.isolated, wanted.isolated),
        ("audited directions", held.audited, wanted.audited),
        ("rulesets", held.rulesets, wanted.rulesets),
        ("named ports", tuple(map(str, held.named_ports)), tuple(map(str, wanted.named_ports))),
    )
    return "; ".join(
        f"its {word} are {_some(has)} and should be {_some(needs)}"
        for word, has, needs in fields
        if has != needs
    )


def _ruleset_difference(held: Ruleset, wanted: Ruleset) -> str:
    if (held.uid, held.generation) != (wanted.uid, wanted.generation):
        return f"of generation {held.generation} of the policy, which is at {wanted.generation}" + (
            "" if held.uid == wanted.uid else " and is another object of this name"
        )
    has, needs = Counter(held.rules), Counter(wanted.rules)
    paths = sorted({rule.path for rule in (needs - has) + (has - needs)})
    return f"differs at {_some(paths)}" if paths else "differs from the policy"


def _other_selectors(_held: object, _wanted: object) -> str:
    return "has other selectors than its id says"


# Slices


def _by_group(slices: Iterable[PeerGroupSlice]) -> Mapping[str, list[PeerGroupSlice]]:
    found: dict[str, list[PeerGroupSlice]] = defaultdict(list)
    for each in slices:
        found[group_of(each.metadata)].append(each)
    return found


def _group_faults(
    key: str, ref: GroupRef, slices: Iterable[PeerGroupSlice], wanted: frozenset[Member]
) -> Iterator[tuple[str, str]]:
    """What is wrong with the slices of one group."""
    group = f"peer group {key} ({selector_text(ref)})"
    there = {
        each.spec.index: each for each in slices if each.metadata.name == slice_name(key, each.spec.index)
    }
    count = there[0].spec.count if 0 in there else 0
    if not count:
        yield group, f"has no slice 0 that counts its slices ({slice_name(key, 0)}): its pods are isolated"
        return
    for index in sorted({*range(count)} ^ there.keys()):
        state = "is not among" if index in there else "is missing from"
        yield slice_object(slice_name(key, index)), f"{state} the {count} slices of {group}"
    held: set[Member] = set()
    for index, each in sorted(there.items()):
        if each.spec.selector != selector_text(ref):
            yield slice_object(each.metadata.name), "says another selector than that of its group"
        try:
            held.update(slice_members(each.spec) if index < count else ())
        except ResourceError as error:
            yield slice_object(each.metadata.name), f"cannot be understood: {error}"
    if lacking := sorted(map(_member, wanted - held)):
        yield group, f"lacks {_some(lacking)}"
    if surplus := sorted(map(_member, held - wanted)):
        yield group, f"holds {_some(surplus)} and should not"


def _misplaced(slices: Iterable[PeerGroupSlice]) -> Iterator[Fault]:
    """Slices under a name that is not that of their group and index: agents pass them over."""
    for each in slices:
        group, index = group_of(each.metadata), each.spec.index
        if each.metadata.name != slice_name(group, index):
            says = f"slice {index} of group {group}" if group else "of no group: its label is missing"
            yield Fault(slice_object(each.metadata.name), f"is {says} by its content, and not by its name")


def _member(member: Member) -> str:
    return member if isinstance(member, str) else f"{member[0]} {member[1].name}/{member[2]}"


def _some(texts: Collection[str]) -> str:
    """The first few, and how many more there are."""
    shown = ", ".join([*texts][:_NAMED]) or "none"
    left = len(texts) - _NAMED
    return f"{shown} and {left} more" if left > 0 else shown

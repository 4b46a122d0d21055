"""After any changes the resolver is the one built from their result, and it reports exactly what changed."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from controller.engine.changes import GroupRef, Member
from controller.engine.resolve import Resolver
from controller.engine.rulesets import NamedPortGroup, NodeView
from controller.objects.kinds import Cluster, Mode, Namespace, NetworkPolicy, Pod
from tests.property.clusters import NAMESPACES, NODES, modes, namespaces, pods, policies

POD_NAMES = ("a", "b", "c", "d")
POLICY_NAMES = ("p", "q", "r")

Objects = dict[tuple[type, str, str], Namespace | Pod | NetworkPolicy]


@st.composite
def changes(draw: st.DrawFn) -> Callable[[Resolver, Objects], None]:
    """One event: an object appears, changes or goes; of a policy or namespace the mode may change alone."""
    kind = draw(st.sampled_from(["pod", "pod", "pod", "policy", "policy", "namespace", "mode"]))
    if kind == "mode":
        return _change_of_mode(draw(st.integers(0, 9)), draw(modes))
    if kind == "pod":
        pod = draw(pods(draw(st.sampled_from(POD_NAMES))))
        return _change(pod, gone=draw(st.integers(0, 3)) == 3)
    if kind == "policy":
        policy = draw(policies(draw(st.sampled_from(POLICY_NAMES))))
        return _change(policy, gone=draw(st.integers(0, 3)) == 3)
    namespace = draw(namespaces(draw(st.sampled_from(NAMESPACES))))
    return _change(namespace, gone=draw(st.integers(0, 3)) == 3)


def _change(item: Namespace | Pod | NetworkPolicy, *, gone: bool) -> Callable[[Resolver, Objects], None]:
    namespace = "" if isinstance(item, Namespace) else item.namespace

    def apply(resolver: Resolver, objects: Objects) -> None:
        if gone:
            objects.pop((type(item), namespace, item.name), None)
        else:
            objects[type(item), namespace, item.name] = item
        match item, gone:
            case Pod(), False:
                resolver.put_pod(item)
            case Pod(), True:
                resolver.remove_pod(item.key)
            case NetworkPolicy(), False:
                resolver.put_policy(item)
            case NetworkPolicy(), True:
                resolver.remove_policy(item.key)
            case Namespace(), False:
                resolver.put_namespace(item)
            case Namespace(), True:
                resolver.remove_namespace(item.name)

    return apply


def _change_of_mode(which: int, mode: Mode | None) -> Callable[[Resolver, Objects], None]:
    def apply(resolver: Resolver, objects: Objects) -> None:
        able = [item for item in objects.values() if not isinstance(item, Pod)]
        if able:
            _change(replace(able[which % len(able)], mode=mode), gone=False)(resolver, objects)

    return apply


def cluster_of(objects: Objects, mode: Mode = Mode.ENFORCE) -> Cluster:
    found = objects.values()
    return Cluster(
        namespaces=tuple(item for item in found if isinstance(item, Namespace)),
        pods=tuple(item for item in found if isinstance(item, Pod)),
        policies=tuple(item for item in found if isinstance(item, NetworkPolicy)),
        mode=mode,
    )


def views(resolver: Resolver) -> dict[str, NodeView]:
    return {node: resolver.view(node) for node in NODES}


def membership(resolver: Resolver) -> dict[GroupRef, frozenset[Member]]:
    found: dict[GroupRef, frozenset[Member]] = {}
    for ref in resolver.groups():
        members = resolver.endpoints(ref) if isinstance(ref, NamedPortGroup) else resolver.members(ref)
        found[ref] = frozenset[Member](members)
    return found


@given(st.lists(changes(), min_size=1, max_size=30), st.sampled_from(Mode))
def test_incremental_resolve_equals_resolve_from_scratch(
    events: list[Callable[[Resolver, Objects], None]], mode: Mode
) -> None:
    resolver, objects = Resolver(mode), Objects()
    for event in events:
        event(resolver, objects)
    fresh = Resolver.of(cluster_of(objects, mode))
    assert views(resolver) == views(fresh)
    assert membership(resolver) == membership(fresh)
    assert set(resolver.inventory.namespaces) >= set(fresh.inventory.namespaces)


@given(st.lists(st.lists(changes(), min_size=1, max_size=5), min_size=1, max_size=8), st.sampled_from(Mode))
def test_reported_changes_are_the_difference_between_before_and_after(
    batches: list[list[Callable[[Resolver, Objects], None]]], mode: Mode
) -> None:
    resolver, objects = Resolver(mode), Objects()
    for batch in batches:
        before, seen = membership(resolver), views(resolver)
        for event in batch:
            event(resolver, objects)
        changed = resolver.take_changes()
        _assert_members_explained(before, membership(resolver), changed.members)
        for node, view in views(resolver).items():
            if (view.pods, view.rulesets, view.known) != (
                seen[node].pods,
                seen[node].rulesets,
                seen[node].known,
            ):
                assert node in changed.nodes


def _assert_members_explained(
    before: dict[GroupRef, frozenset[Member]],
    after: dict[GroupRef, frozenset[Member]],
    changed: dict[GroupRef, dict[Member, bool]],
) -> None:
    for ref in before.keys() | after.keys() | changed.keys():
        old, new = before.get(ref, frozenset()), after.get(ref, frozenset())
        expected = dict.fromkeys(new - old, True) | dict.fromkeys(old - new, False)
        assert changed.get(ref, {}) == expected, ref


@given(st.lists(changes(), min_size=1, max_size=20))
def test_putting_the_same_objects_again_changes_nothing(
    events: list[Callable[[Resolver, Objects], None]],
) -> None:
    resolver, objects = Resolver(), Objects()
    for event in events:
        event(resolver, objects)
    resolver.take_changes()
    for item in objects.values():
        _change(item, gone=False)(resolver, objects)
    assert not resolver.take_changes()


@given(st.lists(changes(), min_size=1, max_size=20))
def test_removing_every_object_leaves_nothing_behind(
    events: list[Callable[[Resolver, Objects], None]],
) -> None:
    resolver, objects = Resolver(), Objects()
    for event in events:
        event(resolver, objects)
    for item in list(objects.values()):
        _change(item, gone=True)(resolver, objects)
    assert not resolver.groups()
    assert not resolver.rulesets
    assert not resolver.inventory.pods
    assert not resolver.inventory.namespaces

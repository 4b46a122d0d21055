"""A plan leads from old to new, and on the way treats no packet worse, or better, than both of them would."""

import itertools
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from controller.dataplane.compile import compile_family
from controller.dataplane.plan import Step, advance, plan
from controller.dataplane.ruleset import Ruleset
from controller.dataplane.settings import Settings
from controller.dataplane.simulate import Hook, Packet, Simulator, Verdict
from controller.engine.resolve import Resolver
from controller.objects.addresses import parse_address
from controller.objects.kinds import Cluster, Direction, Mode, Namespace, NetworkPolicy, Peer, Pod, PolicyRule
from controller.objects.labels import LabelSelector
from tests.property.clusters import NODES, OUTSIDE, PORTS, clusters, modes, pods, policies

SETTINGS = st.sampled_from(
    [
        Settings(),
        Settings(unknown_pods_denied=True, gates=(), bucket_size=1),
        Settings(unknown_pods_denied=True, gates=(4, 6)),
        Settings(hairpin_by_bpf=False, own_node_egress_allowed=True),
    ]
)


@st.composite
def successors(draw: st.DrawFn, cluster: Cluster) -> Cluster:
    """The same cluster after a few changes: mostly pods, as in life; or policies that change their mode."""
    found_pods = {pod.name: pod for pod in cluster.pods}
    found_policies = {policy.name: policy for policy in cluster.policies}
    for _ in range(draw(st.integers(1, 3))):
        if draw(st.integers(0, 3)):
            pod = draw(pods(draw(st.sampled_from([f"pod-{place}" for place in range(7)]))))
            found_pods.pop(pod.name, None)
            if draw(st.integers(0, 2)):
                found_pods[pod.name] = pod
        else:
            policy = draw(policies(draw(st.sampled_from([f"policy-{place}" for place in range(4)]))))
            found_policies.pop(policy.name, None)
            if draw(st.integers(0, 2)):
                found_policies[policy.name] = policy
    if draw(st.booleans()):
        found_policies = {name: replace(each, mode=draw(modes)) for name, each in found_policies.items()}
    return Cluster(
        namespaces=cluster.namespaces,
        pods=tuple(found_pods.values()),
        policies=tuple(found_policies.values()),
        nodes=cluster.nodes,
        mode=cluster.mode,
    )


@st.composite
def rulesets(draw: st.DrawFn) -> tuple[Ruleset, Ruleset, Cluster, Cluster]:
    before = draw(clusters())
    after = draw(successors(before))
    node, family = draw(st.sampled_from(NODES)), draw(st.sampled_from([4, 4, 6]))
    old_settings = draw(SETTINGS)
    settings = draw(st.sampled_from([old_settings, old_settings, draw(SETTINGS)]))
    new_settings = replace(settings, generation=draw(st.sampled_from([1, 2])))
    old = compile_family(Resolver.of(before).view(node), family, old_settings)
    return old, compile_family(Resolver.of(after).view(node), family, new_settings), before, after


def states(old: Ruleset, steps: tuple[Step, ...]) -> list[Ruleset]:
    """What the kernel holds after each step."""
    return list(itertools.accumulate(steps, advance, initial=old))


def packets(family: int, *known: Cluster) -> Iterator[Packet]:
    texts = {address for cluster in known for pod in cluster.pods for address in pod.ips}
    texts |= {address for cluster in known for node in cluster.nodes for address in node.ips} | set(OUTSIDE)
    values = [value for found, value in map(parse_address, sorted(texts)) if found == family]
    for source, destination in itertools.product(values, repeat=2):
        for protocol, port in (
            (6, PORTS[0]),
            (6, PORTS[1]),
            (17, PORTS[0]),
            (1 if family == 4 else 58, None),
        ):
            for hook in (Hook.FORWARD, Hook.INPUT):
                yield Packet(hook, family, source, destination, protocol, port)


def assert_safe(old: Ruleset, new: Ruleset, *known: Cluster) -> None:
    steps = plan(old, new)
    held = states(old, steps)
    assert held[-1] == new
    if len(held) < 3:
        return  # nothing lies between
    simulators = [Simulator(each) for each in held]
    for packet in packets(old.family, *known):
        first, *between, last = (each.run(packet).verdict is Verdict.ACCEPT for each in simulators)
        for place, allowed in enumerate(between):
            assert allowed or not (first and last), ("closed", packet, steps[: place + 1])
            assert not allowed or first or last, ("opened", packet, steps[: place + 1])


@given(rulesets())
def test_a_plan_is_safe_at_every_step_and_ends_at_the_new_ruleset(
    drawn: tuple[Ruleset, Ruleset, Cluster, Cluster],
) -> None:
    assert_safe(*drawn)


@st.composite
def crowds(draw: st.DrawFn) -> Cluster:
    """Pods that all know each other: two roles, each isolated, each allowed to some of the others."""
    count = draw(st.integers(0, 4))
    numbers = draw(st.lists(st.integers(1, 5), min_size=count, max_size=count, unique=True))
    roles = st.sampled_from(["front", "back"])
    return Cluster(
        namespaces=(Namespace(name="shop", labels={}),),
        pods=tuple(
            Pod(
                namespace="shop",
                name=f"pod-{number}",
                labels={"app": draw(roles)},
                ips=(f"10.0.0.{number}",),
                node=NODES[0],
            )
            for number in numbers
        ),
        policies=tuple(
            draw(st.lists(st.sampled_from(CROWD_POLICIES), max_size=4, unique_by=lambda each: each.name))
        ),
    )


def _crowd_policy(role: str, direction: Direction, peer: str) -> NetworkPolicy:
    rule = PolicyRule(0, (Peer(0, LabelSelector.of({"app": peer})),))
    return NetworkPolicy(
        namespace="shop",
        name=f"{role}-{direction}-{peer}".lower(),
        pod_selector=LabelSelector.of({"app": role}),
        directions=(direction,),
        ingress=(rule,),
        egress=(rule,),
    )


CROWD_POLICIES = [
    _crowd_policy(role, direction, peer)
    for role in ("front", "back")
    for direction in Direction
    for peer in ("front", "back")
]


@given(crowds(), crowds(), st.booleans(), SETTINGS, modes, modes)
def test_a_plan_is_safe_when_pods_that_know_each_other_come_and_go_at_once(
    before: Cluster,
    after: Cluster,
    same_policies: bool,
    settings: Settings,
    old_mode: Mode | None,
    new_mode: Mode | None,
) -> None:
    if same_policies:
        after = replace(after, policies=before.policies)
    before, after = (
        replace(before, mode=old_mode or Mode.ENFORCE),
        replace(after, mode=new_mode or Mode.ENFORCE),
    )
    old, new = (compile_family(Resolver.of(each).view(NODES[0]), 4, settings) for each in (before, after))
    assert_safe(old, new, before, after)


@given(rulesets())
def test_equal_rulesets_need_no_steps(drawn: tuple[Ruleset, Ruleset, Cluster, Cluster]) -> None:
    assert plan(drawn[0], drawn[0]) == ()

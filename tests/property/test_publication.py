"""Whatever happens, in whatever order: what stands in the end is what the engine says, on every node.

The engine changes, writes are taken, answered, fail or are answered late, somebody else changes and deletes
our objects, the operator is restarted. At every single write it holds that no NodePolicy names a group of
which agents would miss slices.
"""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from controller.engine.node_policies import group_id
from controller.engine.translate import groups_of
from controller.objects.kinds import Node, Pod
from controller.objects.resources import NodePolicySpec, PeerGroupSliceSpec
from controller.operator.publication import GRACE
from controller.operator.steps import Step
from tests.property.clusters import NODES
from tests.property.test_incremental import Objects, changes
from tests.unit.operator.publishing import Stage
from tests.unit.operator.server import Server

Operation = Callable[["World"], None]


class World:
    """A stage whose steps may be under way for a while."""

    def __init__(self) -> None:
        self.objects: Objects = {}
        self.stage = Stage(CheckedServer()).begin()
        self.under_way: list[Step] = []
        for name in NODES:
            self.stage.resolver.put_node(Node(name=name))
        self.stage.absorb()

    def finish(self) -> None:
        """Everything is answered, and nothing more happens."""
        while self.under_way:
            self.stage.do(self.under_way.pop())
        for _ in range(3):
            self.stage.wait(100.0)
            self.stage.wait(GRACE + 1)


class CheckedServer(Server):
    def execute(self, step: Step) -> tuple[str, str]:
        assert not isinstance(step.spec, NodePolicySpec) or not self.incomplete(step.spec)
        return super().execute(step)


@st.composite
def cluster_changes(draw: st.DrawFn) -> Operation:
    change = draw(changes())

    def apply(world: World) -> None:
        change(world.stage.resolver, world.objects)
        world.stage.absorb()

    return apply


@st.composite
def crowds(draw: st.DrawFn) -> Operation:
    """A pod with so many addresses that its groups need several slices."""
    name, count = (
        draw(st.sampled_from(("crowd-1", "crowd-2"))),
        draw(st.sampled_from((0, 1, 40, 99, 130, 260))),
    )
    namespace, value = draw(st.sampled_from(("shop", "ops"))), draw(st.sampled_from(("a", "b")))
    addresses = tuple(f"10.{name[-1]}.{number >> 8}.{number & 255}" for number in range(count))

    def apply(world: World) -> None:
        world.stage.resolver.put_pod(
            Pod(namespace=namespace, name=name, labels={"app": value}, ips=addresses, node=NODES[0])
        )
        world.stage.absorb()

    return apply


@st.composite
def tamperings(draw: st.DrawFn) -> Operation:
    """Somebody changes or deletes one of our objects."""
    which, deletes = draw(st.integers(0, 50)), draw(st.booleans())

    def apply(world: World) -> None:
        stage, server = world.stage, world.stage.server
        if not server.objects:
            return
        kind, name = list(server.objects)[which % len(server.objects)]
        if deletes:
            server.remove(stage.publication, kind, name, stage.at)
            return
        spec, label, *_ = server.objects[kind, name]
        if isinstance(spec, PeerGroupSliceSpec):
            server.put(kind, name, replace(spec, addresses=("192.0.2.1",)), label)
        else:
            server.put(kind, name, replace(spec, digest="forged", pods=()))
        server.tell(stage.publication, kind, name, stage.at)

    return apply


def take(world: World) -> None:
    """A write begins."""
    if step := world.stage.take():
        world.under_way.append(step)


def answer(world: World) -> None:
    """The write that began first is done."""
    if world.under_way:
        world.stage.do(world.under_way.pop(0))


def fail(world: World) -> None:
    """The write that began last was refused, or never arrived."""
    if world.under_way:
        world.stage.publication.failed(world.under_way.pop(), world.stage.now, 0.5)


def lose_the_answer(world: World) -> None:
    """It was done, and nobody knows; only the watch tells."""
    if world.under_way:
        step = world.under_way.pop()
        known = world.stage.server.objects.get((step.kind, step.name))
        world.stage.server.execute(step)
        if step.spec is not None:
            world.stage.server.tell(world.stage.publication, step.kind, step.name, world.stage.at)
        elif known is not None:
            world.stage.server.objects[step.kind, step.name] = known
            world.stage.server.remove(world.stage.publication, step.kind, step.name, world.stage.at)
        world.stage.publication.failed(step, world.stage.now, 0.5)


def pass_time(world: World) -> None:
    """A second passes."""
    world.stage.now += 1.0


def pass_grace(world: World) -> None:
    """More than the grace passes."""
    world.stage.now += GRACE + 1


def settle(world: World) -> None:
    """All that is due is done."""
    world.stage.settle()


def restart(world: World) -> None:
    """Another operator takes over; what was under way is done or not."""
    for step in world.under_way[::2]:
        world.stage.server.execute(step)
    world.under_way.clear()
    world.stage = world.stage.restarted()


steps = st.sampled_from(
    [take, take, take, answer, answer, fail, lose_the_answer, pass_time, pass_grace, settle]
)
operations = st.one_of(
    cluster_changes(), cluster_changes(), crowds(), steps, steps, steps, tamperings(), st.just(restart)
)


@given(st.lists(operations, max_size=40))
def test_what_stands_in_the_end_is_what_the_engine_says(todo: list[Operation]) -> None:
    world = World()
    for operation in todo:
        operation(world)

    world.finish()

    stage = world.stage
    assert stage.node_policies() == {name for name in stage.resolver.nodes() if name}
    for node in stage.node_policies():
        assert stage.server.node_view(node) == stage.resolver.view(node)
    rulesets = stage.resolver.rulesets.values()
    referenced = {group_id(ref) for ruleset in rulesets for ref in groups_of(ruleset)}
    assert stage.server.groups().keys() == referenced


@given(st.lists(st.one_of(cluster_changes(), crowds()), max_size=20))
def test_a_restart_writes_nothing(todo: list[Operation]) -> None:
    world = World()
    for operation in todo:
        operation(world)
    world.finish()

    again = world.stage.restarted()

    assert again.settle() == []
    assert again.wait_for_grace() == []

"""Our own objects as they are seen: whose content differs, and what that costs to know."""

from itertools import pairwise
from typing import Any

import msgspec
import pytest

from controller.engine.node_policies import spec_digest
from controller.kube.sink import Unreadable
from controller.objects.resources import (
    GROUP_LABEL,
    GroupReference,
    Metadata,
    NodePolicy,
    NodePolicySpec,
    PeerGroupSlice,
    PeerGroupSliceSpec,
)
from controller.operator.held import UNKNOWN, slice_digest
from controller.operator.metrics import Metrics
from controller.operator.own_watch import (
    NodeSink,
    SeenNode,
    SliceSink,
    WireNodePolicy,
    WireSlice,
    keep_node,
    keep_slice,
    place_of,
    read_node,
    read_slice,
)
from controller.operator.steps import Kind, Place
from tests.unit.operator.publishing import Stage
from tests.unit.operator.test_publication import SHOP, published

SPEC = PeerGroupSliceSpec("app=web", count=1, addresses=("10.0.0.1",))


def node_policy(version: str = "1", observed: str = "", **spec: Any) -> bytes:  # noqa: ANN401 - any field
    found = NodePolicySpec(digest="", groups=(GroupReference("abc", ()),), **spec)
    found = msgspec.structs.replace(found, digest=spec_digest(found))
    value = msgspec.to_builtins(NodePolicy(metadata=Metadata("node-1", "uid", version), spec=found))
    return msgspec.json.encode(value | {"status": {"observedDigest": observed}})


def seen(raw: bytes) -> SeenNode:
    return keep_node(msgspec.json.decode(raw, type=WireNodePolicy))


def told(stage: Stage, *raws: bytes) -> list[SeenNode]:
    """The versions of a NodePolicy, one after the other, to the publication of a stage."""
    sink = NodeSink(stage.publication, Metrics(), lambda: None)
    values = [seen(raw) for raw in raws]
    sink.added(("", "node-1"), values[0], 1.0)
    for old, value in pairwise(values):
        sink.changed(("", "node-1"), value, old, 1.0)
    return values


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("pg-abc-0", ("abc", 0)),
        ("pg-abc-17", ("abc", 17)),
        ("pg-abc-017", ("", 0)),
        ("pg-abc", ("", 0)),
        ("pg-abc-9999999999", ("", 0)),
        ("mine", ("", 0)),
    ],
)
def test_a_slice_belongs_where_its_name_says(name: str, place: tuple[str, int]) -> None:
    assert place_of(name) == Place(name, *place)


def test_the_digest_of_a_slice_covers_its_label() -> None:
    raw = PeerGroupSlice(metadata=Metadata("pg-abc-0", "uid", "1", {GROUP_LABEL: "other"}), spec=SPEC)
    found = keep_slice(msgspec.json.decode(msgspec.json.encode(raw), type=WireSlice))

    assert found.held.digest == slice_digest("other", SPEC) != slice_digest("abc", SPEC)


def test_the_digest_of_a_node_policy_is_computed_and_not_believed() -> None:
    honest = node_policy()
    forged = honest.replace(b'"abc"', b'"xyz"')

    assert read_node(honest).digest == msgspec.json.decode(honest)["spec"]["digest"]
    assert read_node(forged).digest == UNKNOWN


def test_what_cannot_be_read_equals_nothing() -> None:
    raw = b'{"metadata": {"name": "pg-abc-0", "uid": "u", "resourceVersion": "7"}, "spec": 3}'

    assert [(each.digest, each.version) for each in (read_slice(raw), read_node(raw))] == [(UNKNOWN, "7")] * 2
    assert read_slice(b"{").version == ""


def test_a_status_that_agents_write_is_no_new_content() -> None:
    stage = published()

    first, second = told(stage, node_policy("90"), node_policy("91", observed="abc"))

    assert second.held.digest == first.held.digest
    assert stage.publication.nodes["node-1"].observed == "abc"


def test_another_spec_is_read_again() -> None:
    first, second = told(published(), node_policy("90"), node_policy("91", addresses=("10.0.0.1",)))

    assert first.held.digest != second.held.digest
    assert UNKNOWN not in {first.held.digest, second.held.digest}


def test_the_bytes_of_a_spec_are_not_kept() -> None:
    (found,) = told(published(), node_policy("90"))

    assert found.spec == b""


def test_an_unreadable_slice_is_put_right_and_its_deletion_is_heard() -> None:
    stage = published(SHOP)
    (name,) = stage.slices()
    sink = SliceSink(stage.publication, Metrics(), lambda: None)
    uid = stage.server.objects[Kind.SLICE, name].uid
    raw = f'{{"metadata": {{"name": "{name}", "uid": "{uid}", "resourceVersion": "99"}}, "spec": 3}}'

    sink.unreadable(Unreadable(("", name), uid, "no object", raw.encode()), 1.0)
    assert stage.settle() == [name]
    sink.removed(("", name), None, 1.0)
    assert stage.settle() == [name]

from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from controller.engine.group_slices import GroupPacking, slice_spec
from controller.engine.node_policies import PolicyVersion, node_policy_spec
from controller.engine.resolve import Resolver
from controller.objects.crds import node_policy_crd, peer_group_slice_crd, schema_of
from controller.objects.resources import (
    MESSAGE_MAX,
    Metadata,
    NodePolicy,
    NodePolicyStatus,
    PeerGroupSlice,
)
from tests.unit.builder import labels
from tests.unit.engine.shop import OPEN, accepting

FOLDER = Path(__file__).parents[3] / "manifests" / "base" / "crds"


def schema_in(definition: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


@pytest.mark.parametrize("definition", [node_policy_crd(), peer_group_slice_crd()])
def test_the_manifests_hold_what_the_types_say(definition: dict[str, Any]) -> None:
    written = yaml.safe_load((FOLDER / f"{definition['metadata']['name']}.yaml").read_text())

    assert written == definition, "run hack/manifests/crds.py"


def test_a_node_policy_fits_its_schema() -> None:
    policy = accepting({"from": [{"podSelector": labels(app="web")}], "ports": [{"port": "sql"}]})
    share = Resolver.of(OPEN.policy("shop/db", policy).build()).share("node-1")
    spec = node_policy_spec(share, lambda _: PolicyVersion("uid", 1))
    written = NodePolicy(metadata=Metadata("node-1"), spec=spec, status=NodePolicyStatus())

    strict = strictly(schema_in(node_policy_crd()))

    jsonschema.validate(on_the_wire(written), strict)


def test_a_slice_fits_its_schema() -> None:
    packing = GroupPacking()
    packing.become(["10.0.0.1", "fd00::1"])
    written = PeerGroupSlice(metadata=Metadata("pg-abc-0"), spec=slice_spec(packing, 0, "pods {} in shop"))

    jsonschema.validate(on_the_wire(written), strictly(schema_in(peer_group_slice_crd())))


def test_a_type_that_no_structural_schema_can_say_is_refused() -> None:
    with pytest.raises(TypeError, match="structural"):
        schema_of(complex)


def strictly(schema: dict[str, Any]) -> dict[str, Any]:
    """With every field that is not named refused: the API server would prune it."""
    found = dict(schema)
    if "properties" in found:
        found["properties"] = {key: strictly(value) for key, value in found["properties"].items()}
        found["additionalProperties"] = False
    if "items" in found:
        found["items"] = strictly(found["items"])
    return found


def on_the_wire(value: msgspec.Struct) -> Any:  # noqa: ANN401  plain values
    return msgspec.json.decode(msgspec.json.encode(value))


def test_what_is_written_says_what_it_is() -> None:
    spec = slice_spec(GroupPacking(), 0, "nobody")

    written = on_the_wire(PeerGroupSlice(metadata=Metadata("pg-abc-0"), spec=spec))

    assert (written["apiVersion"], written["kind"]) == ("podgate.dev/v1alpha1", "PeerGroupSlice")


@pytest.mark.parametrize(
    "status",
    [
        {"observedDigest": "x" * 257},
        {"agentVersion": "x" * 257},
        {"conditions": [{"type": "Ready", "status": "True", "message": "x" * (MESSAGE_MAX + 1)}]},
        {"conditions": [{"type": "Ready", "status": "True"}] * 17},
    ],
)
def test_an_agent_cannot_fill_the_object_that_the_operator_writes(status: dict[str, Any]) -> None:
    schema = schema_of(NodePolicyStatus)

    with pytest.raises(jsonschema.ValidationError, match="too long"):
        jsonschema.validate(status, schema)


def test_a_status_from_before_its_limits_can_still_be_read() -> None:
    message = "x" * (MESSAGE_MAX + 1)
    raw = msgspec.json.encode({"conditions": [{"type": "Ready", "status": "True", "message": message}]})

    assert msgspec.json.decode(raw, type=NodePolicyStatus).conditions[0].message == message

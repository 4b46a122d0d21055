"""Nothing that a client sends makes the server fail: what cannot be worked on is refused with its field."""

import logging
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.lab.apiserver.talk import (
    CRDS,
    PODS,
    POLICIES,
    SERVICES,
    WIDGETS,
    Talk,
    Value,
    definition,
    pod,
    policy,
    widget,
)

MAPS = "/api/v1/namespaces/default/configmaps"
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
JUNK: list[Any] = [
    None,
    1,
    -1,
    1.5,
    True,
    "",
    "x",
    [],
    [None],
    [1],
    ["a"],
    [{}],
    [[]],
    {},
    {"a": 1},
    {"a": None},
]
METADATA = {
    "labels": {"a": "b"},
    "finalizers": ["example.com/hold"],
    "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "u"}],
    "managedFields": [{"manager": "m", "operation": "Apply", "fieldsV1": {"f:data": {"f:a": {}}}}],
}
TAGS = {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}
SCHEMA = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"tags": TAGS}}}}
SERVICE = {
    "metadata": {"name": "one"},
    "spec": {
        "type": "NodePort",
        "ports": [{"port": 80}],
        "ipFamilies": ["IPv4"],
        "clusterIPs": ["10.96.3.4"],
    },
}
CONTAINERS = [{"name": "a", "image": "i", "ports": [{"containerPort": 1}], "env": [{"name": "b"}]}]
WHOLE: dict[str, Value] = {
    PODS: pod("web", containers=CONTAINERS, initContainers=CONTAINERS),
    MAPS: {"metadata": {"name": "words"}, "data": {"a": "b"}},
    SERVICES: SERVICE,
    POLICIES: policy(podSelector={"matchLabels": {"a": "b"}}, ingress=[{"ports": [{"port": 1}]}]),
    ROLES: {"metadata": {"name": "reader"}, "rules": [{"verbs": ["get"], "apiGroups": [""]}]},
    CRDS: definition(SCHEMA),
    WIDGETS: widget("one", spec={"tags": ["x"]}),
}


def broken(value: Any, chance: random.Random, *, root: bool = True) -> Any:  # noqa: ANN401 (plain values)
    """A value with some of its parts replaced by what does not belong there, or left out."""
    if not root and chance.random() < 0.12:
        return chance.choice(JUNK)
    if isinstance(value, dict):
        return {
            key: broken(item, chance, root=False) for key, item in value.items() if chance.random() > 0.03
        }
    return [broken(item, chance, root=False) for item in value] if isinstance(value, list) else value


def requests(chance: random.Random) -> Iterator[tuple[str, str, Any, str]]:
    """Method, path, body and kind of patch."""
    for _ in range(400):
        path = chance.choice(list(WHOLE))
        whole = WHOLE[path]
        named = f"{path}/{whole['metadata']['name']}"
        extra = {key: value for key, value in METADATA.items() if chance.random() < 0.3}
        body = broken({**whole, "metadata": {**whole["metadata"], **extra}}, chance)
        how = chance.choice(["merge", "strategic", "apply", "apply", "json"])
        operations = [{"op": "add", "path": "/spec", "value": body.get("spec")}, *chance.choice([[], [1]])]
        yield "POST", path, body, ""
        yield "PUT", named, body, ""
        yield "PATCH", named, operations if how == "json" else body, how
        yield "PATCH", f"{named}/status", body, "merge"
        if chance.random() < 0.3:
            yield "DELETE", named, chance.choice([None, body, {"preconditions": chance.choice(JUNK)}]), ""
            yield "PATCH", named, {"metadata": {"finalizers": None}}, "merge"


@pytest.mark.parametrize("seed", range(3))
async def test_no_body_makes_the_server_fail(talk: Talk, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    chance = random.Random(seed)  # noqa: S311 (a test)
    codes = set()

    for method, path, body, how in requests(chance):
        if how:
            force = chance.choice(["true", "false"])
            answer = await talk.patch(path, body, how, fieldManager=chance.choice("ab"), force=force)
        else:
            answer = await talk.ask(method, path, body)
        codes.add(answer.code)
        assert answer.code < 500, (method, path, how, body, answer.body, caplog.text)

    assert {200, 201, 400, 404, 409, 422} <= codes

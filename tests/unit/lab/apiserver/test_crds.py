"""Custom resources: served as soon as they are defined, and held to their schema."""

from typing import Any

import pytest

from tests.unit.lab.apiserver.talk import CRDS, WIDGETS, Talk, definition, widget

SPEC: dict[str, Any] = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 10},
        "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
        "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
        "port": {"x-kubernetes-int-or-string": True},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "choice": {
            "type": "object",
            "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
            "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        },
        "maybe": {"type": "string", "nullable": True},
    },
}
SCHEMA = {
    "type": "object",
    "properties": {
        "spec": SPEC,
        "status": {"type": "object", "properties": {"ready": {"type": "boolean"}}},
    },
}


@pytest.fixture
async def defined(talk: Talk) -> None:
    assert (await talk.post(CRDS, definition(SCHEMA))).code == 201


async def test_a_definition_is_established_and_discovered_at_once(talk: Talk) -> None:
    made = await talk.post(CRDS, definition())
    groups = await talk.get("/apis")
    resources = await talk.get("/apis/example.com/v1")

    conditions = {condition["type"]: condition["status"] for condition in made.body["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    assert "example.com" in [group["name"] for group in groups.body["groups"]]
    assert [entry["name"] for entry in resources.body["resources"]] == ["widgets", "widgets/status"]
    assert resources.body["resources"][0]["shortNames"] == ["wd"]


async def test_items_of_a_list_carry_their_kind(talk: Talk) -> None:
    await talk.post(CRDS, definition())
    await talk.post(WIDGETS, widget("one"))

    listed = await talk.get("/apis/example.com/v1/widgets")

    assert listed.body["kind"] == "WidgetList"
    assert (listed.body["items"][0]["kind"], listed.body["items"][0]["apiVersion"]) == (
        "Widget",
        "example.com/v1",
    )


async def test_a_kind_of_the_cluster_has_no_namespace(talk: Talk) -> None:
    await talk.post(CRDS, definition(scope="Cluster"))

    made = await talk.post("/apis/example.com/v1/widgets", widget("one"))

    assert "namespace" not in made.metadata
    assert (await talk.get(WIDGETS)).code == 404


async def test_a_definition_takes_its_objects_along(talk: Talk) -> None:
    await talk.post(CRDS, definition())
    await talk.post(WIDGETS, widget("one"))

    async with talk.watch(WIDGETS) as stream:
        assert await stream.take(1) == [("ADDED", "one")]
        await talk.delete(f"{CRDS}/widgets.example.com")
        assert await stream.take(1) == [("DELETED", "one")]

    assert (await talk.get(WIDGETS)).code == 404
    await talk.post(CRDS, definition())
    assert (await talk.get(WIDGETS)).names == []


async def test_a_definition_under_another_name_is_refused(talk: Talk) -> None:
    value = definition()
    value["metadata"]["name"] = "widgets"

    assert (await talk.post(CRDS, value)).code == 422


async def test_two_versions_are_two_views_of_one_object(talk: Talk) -> None:
    value = definition()
    value["spec"]["versions"].append({**value["spec"]["versions"][0], "name": "v2", "storage": False})
    await talk.post(CRDS, value)
    await talk.post(WIDGETS, widget("one"))

    other = await talk.get("/apis/example.com/v2/namespaces/default/widgets/one")
    group = await talk.get("/apis/example.com")

    assert other.body["apiVersion"] == "example.com/v2"
    assert group.body["preferredVersion"]["version"] == "v2"


async def test_a_version_that_is_no_longer_served_is_not_found(talk: Talk) -> None:
    value = definition()
    value["spec"]["versions"].append({**value["spec"]["versions"][0], "name": "v2", "storage": False})
    await talk.post(CRDS, value)

    await talk.patch(
        f"{CRDS}/widgets.example.com",
        [{"op": "replace", "path": "/spec/versions/1/served", "value": False}],
        "json",
    )

    assert (await talk.get("/apis/example.com/v2/widgets")).code == 404
    assert (await talk.get("/apis/example.com/v1/widgets")).code == 200


@pytest.mark.usefixtures("defined")
async def test_unknown_fields_are_dropped_and_defaults_set(talk: Talk) -> None:
    spec = {"size": 1, "bogus": 1, "free": {"any": [1]}, "labels": {"a": "b"}, "maybe": None, "name": None}

    made = await talk.post(WIDGETS, widget("one", spec=spec, more={}))

    assert made.body["spec"] == {
        "size": 1,
        "free": {"any": [1]},
        "labels": {"a": "b"},
        "maybe": None,
        "color": "red",
    }
    assert "more" not in made.body


@pytest.mark.usefixtures("defined")
async def test_strict_validation_refuses_unknown_fields(talk: Talk) -> None:
    refused = await talk.post(WIDGETS, widget("one", spec={"size": 1, "bogus": 1}), fieldValidation="Strict")

    assert (refused.code, 'unknown field "spec.bogus"' in refused.body["message"]) == (400, True)


@pytest.mark.usefixtures("defined")
@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({}, "spec.size"),
        ({"size": "1"}, "spec.size"),
        ({"size": True}, "spec.size"),
        ({"size": 0}, "spec.size"),
        ({"size": 11}, "spec.size"),
        ({"size": 1, "color": "green"}, "spec.color"),
        ({"size": 1, "name": "UPPER"}, "spec.name"),
        ({"size": 1, "name": "toolong"}, "spec.name"),
        ({"size": 1, "port": 1.5}, "spec.port"),
        ({"size": 1, "tags": ["a", 1]}, "spec.tags[1]"),
        ({"size": 1, "tags": ["a", "b", "c"]}, "spec.tags"),
        ({"size": 1, "labels": {"a": 1}}, "spec.labels.a"),
        ({"size": 1, "choice": {}}, "spec.choice"),
        ({"size": 1, "choice": {"a": "1", "b": "2"}}, "spec.choice"),
        ([], "spec"),
    ],
)
async def test_what_the_schema_does_not_allow_is_refused_with_its_field(
    talk: Talk, spec: object, field: str
) -> None:
    refused = await talk.post(WIDGETS, widget("one", spec=spec))

    assert refused.code == 422
    assert [cause["field"] for cause in refused.body["details"]["causes"]] == [field]


@pytest.mark.usefixtures("defined")
async def test_a_replacement_needs_a_revision_and_status_stays_apart(talk: Talk) -> None:
    made = await talk.post(WIDGETS, widget("one", spec={"size": 1}, status={"ready": True}))

    blind = await talk.put(f"{WIDGETS}/one", widget("one", spec={"size": 2}))
    body = {**made.body, "status": {"ready": True}, "spec": {"size": 9}}
    written = await talk.put(f"{WIDGETS}/one/status", body)

    assert "status" not in made.body
    assert blind.code == 422
    assert (written.body["status"], written.body["spec"]["size"]) == ({"ready": True}, 1)
    assert written.metadata["generation"] == 1


async def test_without_the_subresource_status_is_a_field_like_others(talk: Talk) -> None:
    await talk.post(CRDS, definition(status=False))

    made = await talk.post(WIDGETS, widget("one", status={"ready": True}))

    assert made.body["status"] == {"ready": True}
    assert (await talk.get(f"{WIDGETS}/one/status")).code == 404


async def test_fields_of_a_custom_resource_can_be_made_selectable(talk: Talk) -> None:
    value = definition()
    value["spec"]["versions"][0]["selectableFields"] = [{"jsonPath": ".spec.color"}]
    await talk.post(CRDS, value)
    for name, color in (("one", "red"), ("two", "blue")):
        await talk.post(WIDGETS, widget(name, spec={"color": color}))

    assert (await talk.get(WIDGETS, fieldSelector="spec.color=blue")).names == ["two"]

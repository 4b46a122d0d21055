"""Server-side apply: who owns what, and what happens when two want it."""

from tests.unit.lab.apiserver.talk import (
    CRDS,
    PODS,
    POLICIES,
    WIDGETS,
    Answer,
    Talk,
    Value,
    config_map,
    definition,
    pod,
    policy,
    widget,
)

MAPS = "/api/v1/namespaces/default/configmaps"


async def apply(talk: Talk, path: str, value: Value, manager: str, **query: str) -> Answer:
    return await talk.patch(path, value, "apply", fieldManager=manager, **query)


def managers(answer: Answer) -> list[tuple[str, str]]:
    return [(entry["manager"], entry["operation"]) for entry in answer.metadata["managedFields"]]


async def test_applying_makes_what_is_not_there(talk: Talk) -> None:
    made = await apply(talk, f"{MAPS}/words", config_map("words", a="1"), "one")
    again = await apply(talk, f"{MAPS}/words", config_map("words", a="1"), "one")

    assert (made.code, again.code) == (201, 200)
    assert made.metadata["managedFields"][0]["fieldsV1"] == {"f:data": {"f:a": {}}}
    assert again.metadata == made.metadata


async def test_a_manager_has_to_be_named(talk: Talk) -> None:
    assert (await talk.patch(f"{MAPS}/words", config_map("words"), "apply")).code == 400


async def test_a_field_that_is_no_longer_applied_is_removed(talk: Talk) -> None:
    await apply(talk, f"{MAPS}/words", config_map("words", a="1", b="2"), "one")

    assert (await apply(talk, f"{MAPS}/words", config_map("words", b="2"), "one")).body["data"] == {"b": "2"}


async def test_a_field_that_somebody_else_applies_too_stays(talk: Talk) -> None:
    await apply(talk, f"{MAPS}/words", config_map("words", a="1", b="2"), "one")
    await apply(talk, f"{MAPS}/words", config_map("words", a="1"), "two")

    assert (await apply(talk, f"{MAPS}/words", config_map("words", b="2"), "one")).body["data"] == {
        "a": "1",
        "b": "2",
    }


async def test_another_value_for_what_somebody_owns_conflicts(talk: Talk) -> None:
    await apply(talk, f"{POLICIES}/web", policy(podSelector={"matchLabels": {"app": "web"}}), "a")

    refused = await apply(talk, f"{POLICIES}/web", policy(podSelector={}), "b")

    assert refused.code == 409
    assert 'conflict with "a": .spec.podSelector' in refused.body["message"]
    assert refused.body["details"]["causes"][0]["reason"] == "FieldManagerConflict"


async def test_force_takes_the_field_over(talk: Talk) -> None:
    await apply(talk, f"{MAPS}/words", config_map("words", a="1", b="2"), "one")

    forced = await apply(talk, f"{MAPS}/words", config_map("words", a="9"), "two", force="true")
    back = await apply(talk, f"{MAPS}/words", config_map("words", a="1", b="2"), "one")

    assert forced.body["data"] == {"a": "9", "b": "2"}
    assert back.code == 409


async def test_items_of_a_list_with_keys_have_their_own_owners(talk: Talk) -> None:
    await apply(talk, f"{PODS}/web", pod("web"), "one")
    side = {"name": "side", "image": "registry.example/side"}
    other = pod("web")
    other["spec"] = {"containers": [side]}

    both = await apply(talk, f"{PODS}/web", other, "two")
    other["spec"] = {}
    left = await apply(talk, f"{PODS}/web", other, "two")

    assert [container["name"] for container in both.body["spec"]["containers"]] == ["main", "side"]
    assert [container["name"] for container in left.body["spec"]["containers"]] == ["main"]


async def test_a_write_of_another_kind_is_an_owner_too(talk: Talk) -> None:
    await apply(talk, f"{MAPS}/words", config_map("words", a="1"), "one")

    patched = await talk.patch(f"{MAPS}/words", {"data": {"a": "2"}}, fieldManager="editor")
    refused = await apply(talk, f"{MAPS}/words", config_map("words", a="1"), "one")

    assert managers(patched) == [("editor", "Update")]
    assert (refused.code, 'conflict with "editor"' in refused.body["message"]) == (409, True)


async def test_an_applied_change_of_value_keeps_its_owner(talk: Talk) -> None:
    await apply(talk, f"{MAPS}/words", config_map("words", a="1"), "one")

    changed = await apply(talk, f"{MAPS}/words", config_map("words", a="2"), "one")

    assert changed.body["data"] == {"a": "2"}
    assert managers(changed) == [("one", "Apply")]


async def test_what_nobody_owns_belongs_to_the_time_before(talk: Talk) -> None:
    await talk.post(MAPS, config_map("words", a="1", b="2"))

    refused = await apply(talk, f"{MAPS}/words", config_map("words", a="9"), "one")
    forced = await apply(talk, f"{MAPS}/words", config_map("words", a="9"), "one", force="true")

    assert 'conflict with "before-first-apply": .data.a' in refused.body["message"]
    assert managers(forced) == [("before-first-apply", "Update"), ("one", "Apply")]


async def test_a_named_manager_owns_what_it_creates(talk: Talk) -> None:
    made = await talk.post(MAPS, config_map("words", a="1"), fieldManager="kubectl-create")

    assert managers(made) == [("kubectl-create", "Update")]


async def test_status_is_applied_through_its_subresource(talk: Talk) -> None:
    await talk.post(CRDS, definition())
    await talk.post(WIDGETS, widget("one", spec={"size": 1}))

    value = widget("one", spec={"size": 2}, status={"ready": True})
    applied = await apply(talk, f"{WIDGETS}/one/status", value, "operator", force="true")

    assert (applied.body["spec"], applied.body["status"]) == ({"size": 1}, {"ready": True})
    entry = next(entry for entry in applied.metadata["managedFields"] if entry["manager"] == "operator")
    assert (entry["subresource"], entry["fieldsV1"]) == ("status", {"f:status": {"f:ready": {}}})


async def test_the_schema_of_a_custom_resource_says_how_lists_merge(talk: Talk) -> None:
    item = {"type": "object", "properties": {"name": {"type": "string"}, "size": {"type": "integer"}}}
    parts = {
        "type": "array",
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    }
    tags = {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}
    spec = {"type": "object", "properties": {"parts": parts, "tags": tags}}
    await talk.post(CRDS, definition({"type": "object", "properties": {"spec": spec}}))

    await apply(talk, f"{WIDGETS}/one", widget("one", spec={"parts": [{"name": "a"}], "tags": ["x"]}), "one")
    both = await apply(
        talk,
        f"{WIDGETS}/one",
        widget("one", spec={"parts": [{"name": "b", "size": 2}], "tags": ["y"]}),
        "two",
    )
    left = await apply(talk, f"{WIDGETS}/one", widget("one"), "one")

    assert both.body["spec"] == {"parts": [{"name": "a"}, {"name": "b", "size": 2}], "tags": ["x", "y"]}
    assert left.body["spec"] == {"parts": [{"name": "b", "size": 2}], "tags": ["y"]}

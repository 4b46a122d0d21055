"""Patches that say what to change: JSON, merge and strategic merge."""

import pytest

from tests.unit.lab.apiserver.talk import (
    CRDS,
    PODS,
    SERVICES,
    WIDGETS,
    Talk,
    config_map,
    definition,
    pod,
    widget,
)

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
async def words(talk: Talk) -> str:
    await talk.post(MAPS, config_map("words", a="1", b="2"))
    return f"{MAPS}/words"


async def test_a_merge_patch_merges_and_null_removes(talk: Talk, words: str) -> None:
    patched = await talk.patch(words, {"data": {"a": None, "c": "3"}})

    assert patched.body["data"] == {"b": "2", "c": "3"}


async def test_a_json_patch_is_a_list_of_operations(talk: Talk, words: str) -> None:
    operations = [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "replace", "path": "/data/a", "value": "9"},
        {"op": "remove", "path": "/data/b"},
    ]

    assert (await talk.patch(words, operations, "json")).body["data"] == {"a": "9"}


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        ([{"op": "test", "path": "/data/a", "value": "2"}], 422),
        ([{"op": "remove", "path": "/data/missing"}], 422),
        ([{"op": "replace", "path": "/metadata", "value": 1}], 400),
        ({"op": "remove"}, 400),
    ],
)
async def test_a_json_patch_that_cannot_be_done_changes_nothing(
    talk: Talk, words: str, patch: object, code: int
) -> None:
    assert (await talk.patch(words, patch, "json")).code == code
    assert (await talk.get(words)).body["data"] == {"a": "1", "b": "2"}


async def test_a_patch_with_an_old_revision_conflicts(talk: Talk, words: str) -> None:
    old = (await talk.get(words)).metadata["resourceVersion"]
    await talk.patch(words, {"data": {"c": "3"}})

    assert (await talk.patch(words, {"metadata": {"resourceVersion": old}, "data": {"d": "4"}})).code == 409


async def test_a_patch_of_nothing_is_not_found_and_of_an_unknown_type_not_supported(
    talk: Talk, words: str
) -> None:
    assert (await talk.patch(f"{MAPS}/missing", {})).code == 404
    assert (await talk.ask("PATCH", words, {}, {"Content-Type": "text/plain"})).code == 415


async def test_a_strategic_patch_merges_lists_by_their_keys(talk: Talk) -> None:
    await talk.post(PODS, pod("web"))
    side = {"name": "side", "image": "registry.example/side"}

    added = await talk.patch(f"{PODS}/web", {"spec": {"containers": [side]}}, "strategic")
    image = {"spec": {"containers": [{"name": "main", "image": "registry.example/new"}]}}
    changed = await talk.patch(f"{PODS}/web", image, "strategic")
    gone = {"spec": {"containers": [{"name": "side", "$patch": "delete"}]}}
    removed = await talk.patch(f"{PODS}/web", gone, "strategic")

    assert [container["name"] for container in added.body["spec"]["containers"]] == ["main", "side"]
    assert [container["image"] for container in changed.body["spec"]["containers"]] == [
        "registry.example/new",
        "registry.example/side",
    ]
    assert [container["name"] for container in removed.body["spec"]["containers"]] == ["main"]


async def test_a_strategic_patch_replaces_where_it_says_so(talk: Talk) -> None:
    await talk.post(PODS, pod("web", {"a": "b"}))

    patch = {
        "metadata": {"labels": {"$patch": "replace", "c": "d"}},
        "spec": {"containers": [{"name": "only", "image": "i"}, {"$patch": "replace"}]},
    }
    patched = (await talk.patch(f"{PODS}/web", patch, "strategic")).body

    assert patched["metadata"]["labels"] == {"c": "d"}
    assert [container["name"] for container in patched["spec"]["containers"]] == ["only"]


async def test_ports_of_a_service_are_told_apart_by_number(talk: Talk) -> None:
    await talk.post(SERVICES, {"metadata": {"name": "one"}, "spec": {"ports": [{"name": "a", "port": 80}]}})

    patch = {"spec": {"ports": [{"port": 80, "targetPort": 8080}, {"name": "b", "port": 81}]}}
    patched = await talk.patch(f"{SERVICES}/one", patch, "strategic")

    assert [(port["name"], port["port"], port["targetPort"]) for port in patched.body["spec"]["ports"]] == [
        ("a", 80, 8080),
        ("b", 81, 81),
    ]


async def test_a_strategic_patch_takes_finalizers_out_of_a_set(talk: Talk) -> None:
    value = config_map("held")
    value["metadata"]["finalizers"] = ["example.com/a", "example.com/b"]
    await talk.post(MAPS, value)

    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/a"]}}
    patched = await talk.patch(f"{MAPS}/held", patch, "strategic")

    assert patched.metadata["finalizers"] == ["example.com/b"]


async def test_the_order_of_a_merged_list_can_be_given(talk: Talk) -> None:
    await talk.post(PODS, pod("web"))

    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "first"}, {"name": "main"}],
            "containers": [{"name": "first", "image": "i"}],
        }
    }
    patched = await talk.patch(f"{PODS}/web", patch, "strategic")

    assert [container["name"] for container in patched.body["spec"]["containers"]] == ["first", "main"]


async def test_custom_resources_know_no_strategic_patch(talk: Talk) -> None:
    await talk.post(CRDS, definition())
    await talk.post(WIDGETS, widget("one"))

    assert (await talk.patch(f"{WIDGETS}/one", {}, "strategic")).code == 415

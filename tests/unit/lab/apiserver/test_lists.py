"""Lists: selectors, pages, and which revision they show."""

import pytest

from controller.lab.apiserver import ApiServer
from tests.unit.lab.apiserver.talk import PODS, Talk, pod

METADATA = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}


@pytest.fixture
async def pods(talk: Talk) -> None:
    for name, labels, node in (
        ("a", {"app": "web", "tier": "1"}, "node-1"),
        ("b", {"app": "db"}, "node-2"),
        ("c", {}, "node-2"),
    ):
        await talk.post(PODS, pod(name, labels, nodeName=node))


@pytest.mark.usefixtures("pods")
async def test_a_list_is_in_the_order_of_names_and_without_kinds_in_its_items(talk: Talk) -> None:
    listed = await talk.get("/api/v1/pods")

    assert listed.names == ["a", "b", "c"]
    assert (listed.body["kind"], listed.body["apiVersion"]) == ("PodList", "v1")
    assert "kind" not in listed.body["items"][0]


@pytest.mark.usefixtures("pods")
@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("app=web", ["a"]),
        ("app==web", ["a"]),
        ("app!=web", ["b", "c"]),
        ("app in (web, db)", ["a", "b"]),
        ("app notin (web)", ["b", "c"]),
        ("app", ["a", "b"]),
        ("!app", ["c"]),
        ("app,tier", ["a"]),
        ("tier>0", ["a"]),
        ("tier<1", []),
        ("app in (web,db),!tier", ["b"]),
    ],
)
async def test_labels_select(talk: Talk, selector: str, names: list[str]) -> None:
    assert (await talk.get(PODS, labelSelector=selector)).names == names


@pytest.mark.usefixtures("pods")
@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("metadata.name=a", ["a"]),
        ("metadata.name!=a", ["b", "c"]),
        ("metadata.namespace=default", ["a", "b", "c"]),
        ("metadata.namespace=other", []),
        ("spec.nodeName=node-2", ["b", "c"]),
        ("spec.nodeName=node-2,metadata.name=c", ["c"]),
        ("status.phase!=Pending", []),
        ("metadata.name=a,metadata.name=b", []),
    ],
)
async def test_fields_select(talk: Talk, selector: str, names: list[str]) -> None:
    assert (await talk.get("/api/v1/pods", fieldSelector=selector)).names == names


@pytest.mark.parametrize(
    "query",
    [
        {"labelSelector": "app in web"},
        {"labelSelector": "a b"},
        {"labelSelector": "app=not valid"},
        {"fieldSelector": "spec.unknown=1"},
        {"fieldSelector": "spec.nodeName"},
        {"limit": "many"},
        {"watch": "true", "timeoutSeconds": "soon"},
        {"watch": "true", "timeoutSeconds": "290.5"},  # as kube-apiserver 1.34 does
        {"continue": "nonsense"},
    ],
)
async def test_a_query_that_means_nothing_is_a_bad_request(talk: Talk, query: dict[str, str]) -> None:
    assert (await talk.get(PODS, **query)).code == 400


@pytest.mark.usefixtures("pods")
async def test_pages_are_one_consistent_picture(talk: Talk) -> None:
    first = await talk.get(PODS, limit=2)
    await talk.delete(f"{PODS}/c")
    await talk.post(PODS, pod("d"))

    token = first.metadata["continue"]
    second = await talk.get(PODS, **{"limit": 2, "continue": token})
    again = await talk.get(PODS, **{"limit": 2, "continue": token})

    assert (first.names, second.names, again.names) == (["a", "b"], ["c"], ["c"])
    assert first.metadata["remainingItemCount"] == 1
    assert second.metadata["resourceVersion"] == first.metadata["resourceVersion"]
    assert "continue" not in second.metadata


@pytest.mark.usefixtures("pods")
async def test_a_page_after_compaction_is_gone(talk: Talk) -> None:
    first = await talk.get(PODS, limit=1)
    await talk.post("/debug/compact", {})

    expired = await talk.get(PODS, **{"limit": 1, "continue": first.metadata["continue"]})

    assert (expired.code, expired.body["reason"]) == (410, "Expired")


@pytest.mark.usefixtures("pods")
async def test_a_list_from_the_cache_knows_no_pages(talk: Talk) -> None:
    assert (await talk.get(PODS, limit=1, resourceVersion="0")).names == ["a", "b", "c"]


@pytest.mark.usefixtures("pods")
async def test_a_list_of_an_exact_revision_shows_what_was_then(talk: Talk) -> None:
    then = (await talk.get(PODS)).metadata["resourceVersion"]
    await talk.delete(f"{PODS}/b")
    await talk.patch(f"{PODS}/a", {"metadata": {"labels": {"app": "changed"}}})
    await talk.post(PODS, pod("d"))

    exact = await talk.get(PODS, resourceVersion=then, resourceVersionMatch="Exact")
    fresh = await talk.get(PODS, resourceVersion=then, resourceVersionMatch="NotOlderThan")

    assert exact.names == ["a", "b", "c"]
    assert exact.body["items"][0]["metadata"]["labels"]["app"] == "web"
    assert exact.metadata["resourceVersion"] == then
    assert fresh.names == ["a", "c", "d"]


async def test_a_revision_of_the_future_times_out(talk: Talk, server: ApiServer) -> None:
    refused = await talk.get(PODS, resourceVersion=str(server.parts.store.revision + 1))

    assert (refused.code, refused.body["reason"]) == (504, "Timeout")


async def test_a_revision_that_is_no_number_is_an_internal_error(talk: Talk) -> None:
    assert (await talk.get(PODS, resourceVersion="abc")).code == 500


@pytest.mark.usefixtures("pods")
async def test_a_client_may_want_metadata_only(talk: Talk) -> None:
    listed = await talk.ask("GET", PODS, None, METADATA)

    assert (listed.body["kind"], listed.body["apiVersion"]) == (
        "PartialObjectMetadataList",
        "meta.k8s.io/v1",
    )
    assert listed.names == ["a", "b", "c"]
    assert listed.body["items"][0].keys() == {"kind", "apiVersion", "metadata"}


async def test_a_long_list_is_whole(talk: Talk, server: ApiServer) -> None:
    names = [f"pod-{number:05d}" for number in range(4_500)]
    for name in names:
        server.create(pod(name))

    assert (await talk.get(PODS)).names == names


@pytest.mark.usefixtures("pods")
async def test_a_namespace_sees_its_own_objects_only(talk: Talk) -> None:
    await talk.post("/api/v1/namespaces/kube-system/pods", pod("z"))

    assert (await talk.get(PODS)).names == ["a", "b", "c"]
    assert (await talk.get("/api/v1/pods")).names == ["a", "b", "c", "z"]

"""Tokens, roles, and the record of who did what."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from controller.lab.apiserver import ApiServer, Settings, User
from controller.lab.apiserver.access import read_tokens
from tests.unit.lab.apiserver.talk import PODS, Talk, Value, pod, until

RBAC = "/apis/rbac.authorization.k8s.io/v1"
TOKENS = {"root": User("admin", ("system:masters",)), "agent": User("agent", ("nodes",))}


@pytest.fixture
async def guarded() -> AsyncIterator[ApiServer]:
    async with ApiServer(Settings(tokens=TOKENS, rbac=True)) as running:
        yield running


@pytest.fixture
async def root(guarded: ApiServer) -> AsyncIterator[Talk]:
    async with ClientSession(guarded.url, headers={"Authorization": "Bearer root"}) as session:
        yield Talk(session)


@pytest.fixture
async def agent(guarded: ApiServer) -> AsyncIterator[Talk]:
    async with ClientSession(guarded.url, headers={"Authorization": "Bearer agent"}) as session:
        yield Talk(session)


async def grant(root: Talk, *, subject: Value | None = None, namespace: str = "", **rule: list[str]) -> None:
    """A role with one rule, and its binding to the agent."""
    path = f"{RBAC}/namespaces/{namespace}" if namespace else RBAC
    kind = "Role" if namespace else "ClusterRole"
    roles = "roles" if namespace else "clusterroles"
    await root.post(
        f"{path}/{roles}", {"metadata": {"name": "lab:role"}, "rules": [{"apiGroups": [""], **rule}]}
    )
    binding = {
        "metadata": {"name": "lab:binding"},
        "roleRef": {"kind": kind, "name": "lab:role", "apiGroup": "rbac.authorization.k8s.io"},
        "subjects": [subject or {"kind": "User", "name": "agent"}],
    }
    made = await root.post(f"{path}/{roles[:-1]}bindings", binding)
    assert made.code == 201, made.body


@pytest.mark.parametrize("header", ["", "Bearer wrong", "Basic root"])
async def test_who_is_not_known_is_unauthorized(guarded: ApiServer, header: str) -> None:
    async with ClientSession(guarded.url, headers={"Authorization": header}) as session:
        assert (await Talk(session).get(PODS)).code == 401
        assert (await Talk(session).get("/apis")).code == 401


async def test_health_is_told_to_everybody(guarded: ApiServer) -> None:
    async with ClientSession(guarded.url) as session:
        for path in ("/healthz", "/livez", "/readyz"):
            async with session.get(path) as response:
                assert (response.status, await response.text()) == (200, "ok")


async def test_without_a_rule_everything_is_forbidden_but_discovery(agent: Talk) -> None:
    refused = await agent.get(PODS)

    assert (refused.code, refused.body["reason"]) == (403, "Forbidden")
    assert refused.body["message"] == (
        'pods is forbidden: User "agent" cannot list resource "pods" in API group "" '
        'in the namespace "default"'
    )
    assert (await agent.get("/api/v1")).code == 200


async def test_a_cluster_role_allows_its_verbs_everywhere(root: Talk, agent: Talk) -> None:
    await grant(root, verbs=["get", "list"], resources=["pods"])
    await root.post(PODS, pod("web"))

    codes = [
        (await agent.get(PODS)).code,
        (await agent.get("/api/v1/pods")).code,
        (await agent.get(f"{PODS}/web")).code,
        (await agent.patch(f"{PODS}/web", {})).code,
        (await agent.get(PODS, watch="true")).code,
        (await agent.get(f"{PODS}/web/status")).code,
        (await agent.get("/api/v1/secrets")).code,
    ]

    assert codes == [200, 200, 200, 403, 403, 403, 403]


async def test_a_role_allows_in_its_namespace_only(root: Talk, agent: Talk) -> None:
    await grant(root, namespace="kube-system", verbs=["*"], resources=["pods"])

    assert (await agent.get("/api/v1/namespaces/kube-system/pods")).code == 200
    assert (await agent.get(PODS)).code == 403
    assert (await agent.get("/api/v1/pods")).code == 403


@pytest.mark.parametrize(
    "subject", [{"kind": "Group", "name": "nodes"}, {"kind": "Group", "name": "system:authenticated"}]
)
async def test_groups_are_subjects(root: Talk, agent: Talk, subject: Value) -> None:
    await grant(root, subject=subject, verbs=["list"], resources=["*"])

    assert (await agent.get(PODS)).code == 200


async def test_a_rule_with_names_allows_a_list_that_is_pinned_to_one(root: Talk, agent: Talk) -> None:
    await grant(root, verbs=["list", "get"], resources=["pods"], resourceNames=["web"])

    assert (await agent.get(PODS, fieldSelector="metadata.name=web")).code == 200
    assert (await agent.get(PODS, fieldSelector="metadata.name=other")).code == 403
    assert (await agent.get(PODS)).code == 403


async def test_a_subresource_needs_a_rule_of_its_own(root: Talk, agent: Talk) -> None:
    await root.post(PODS, pod("web"))
    await grant(root, verbs=["patch"], resources=["pods/status"])

    assert (await agent.patch(f"{PODS}/web/status", {"status": {"podIP": "192.0.2.1"}})).code == 200
    assert (await agent.patch(f"{PODS}/web", {})).code == 403


async def test_a_rule_that_is_taken_away_counts_no_more(root: Talk, agent: Talk) -> None:
    await grant(root, verbs=["list"], resources=["pods"])
    before = (await agent.get(PODS)).code

    await root.delete(f"{RBAC}/clusterrolebindings/lab:binding")

    assert (before, (await agent.get(PODS)).code) == (200, 403)


async def test_a_service_account_gets_a_token_that_names_it(root: Talk, guarded: ApiServer) -> None:
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    await root.post(accounts, {"metadata": {"name": "runner"}})
    account = {"kind": "ServiceAccount", "name": "runner", "namespace": "default"}
    await grant(root, subject=account, verbs=["list"], resources=["pods"])

    made = await root.post(f"{accounts}/runner/token", {"spec": {}})

    header = {"Authorization": f"Bearer {made.body['status']['token']}"}
    async with ClientSession(guarded.url, headers=header) as session:
        assert (await Talk(session).get(PODS)).code == 200


async def test_the_record_says_who_did_what_and_what_came_of_it(
    root: Talk, agent: Talk, guarded: ApiServer
) -> None:
    await root.post(PODS, pod("web"))
    await grant(root, verbs=["watch"], resources=["pods"])
    async with agent.watch(PODS):
        await agent.patch(f"{PODS}/web/status", {})
    await until(lambda: not guarded.api.streams)

    async with agent.session.get("/debug/audit", params={"user": "agent"}) as response:
        audit = await response.json()

    shown = [
        (entry["verb"], entry["resource"], entry["subresource"], entry["name"], entry["code"])
        for entry in audit
    ]
    assert shown == [("watch", "pods", "", "", 200), ("patch", "pods", "status", "web", 403)]


async def test_permissions_that_were_never_used_can_be_found(root: Talk, agent: Talk) -> None:
    await grant(root, verbs=["list", "delete"], resources=["pods"])
    await agent.get(PODS)

    async with agent.session.get("/debug/grants", params={"user": "agent"}) as response:
        grants = await response.json()

    assert {entry["verb"]: entry["used"] for entry in grants} == {"list": True, "delete": False}


def test_a_token_file_is_read_as_by_a_real_server() -> None:
    text = '# who is who\none,admin,1,"system:masters,others"\ntwo,agent,2\n'

    assert read_tokens(text) == {"one": User("admin", ("system:masters", "others")), "two": User("agent")}


def test_a_token_file_with_a_short_line_is_refused() -> None:
    with pytest.raises(ValueError, match="2 columns"):
        read_tokens("one,admin\n")

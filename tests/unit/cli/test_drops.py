"""`podgate drops`: lines of agents' logs as a table or as JSON, from a file or through the API server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from controller.cli.agent_logs import follow_logs
from controller.cli.drop_lines import Drop, parse_line
from controller.cli.drops import command
from controller.cli.failure import CommandError
from controller.kube.client import ApiClient
from tests.kernel.loop import LoopThread
from tests.unit.kube.scripted import cut, reply, scripted_server
from tests.unit.kube.scripted import text as scripted

LINE = {
    "ts": "2026-01-01T00:00:01.5Z",
    "level": "info",
    "logger": "agent.drops",
    "msg": "packet dropped",
    "namespace": "shop",
    "pod": "db",
    "direction": "ingress",
    "peer": "10.0.1.9",
    "peer_pod": "",
    "protocol": "TCP",
    "port": 5432,
    "policies": ["shop/db", "shop/default-deny"],
    "reason": "PortMismatch",
    "count": 3,
}
TEXT = (
    "2026-01-01T00:00:01.500000Z [info     ] packet dropped [agent.drops] count=3 direction=ingress "
    "namespace=shop peer=10.0.1.9 peer_pod= pod=db policies=['shop/db', 'shop/default-deny'] port=5432 "
    "protocol=TCP reason=PortMismatch"
)


def line(**changes: object) -> str:
    return json.dumps({**LINE, **changes})


def run(*arguments: str, text: str = "") -> Result:
    return CliRunner().invoke(command, arguments, input=text, standalone_mode=False)


def test_a_line_is_a_row() -> None:
    assert run("-f", "-", text=line()).output.splitlines() == [
        "TIME                  NODE  POD      DIRECTION  PEER      PORT      COUNT  REASON        POLICIES",
        (
            "2026-01-01T00:00:01Z  -     shop/db  ingress    10.0.1.9  5432/TCP  3      PortMismatch  "
            "shop/db, shop/default-deny"
        ),
    ]


def test_lines_of_an_agent_in_a_terminal_say_the_same() -> None:
    plain, text = parse_line(line().encode()), parse_line(TEXT.encode())

    assert isinstance(plain, Drop)
    assert isinstance(text, Drop)
    assert (text.pod, text.port, text.policies, text.count) == (
        plain.pod,
        plain.port,
        plain.policies,
        plain.count,
    )


def test_what_a_journal_puts_before_a_line_does_not_matter() -> None:
    assert parse_line(b"Jan 01 node-1 podgate[7]: " + line().encode()) == parse_line(line().encode())


@pytest.mark.parametrize(
    "other",
    [
        "",
        "packet dropped",
        "{",
        line(msg="started"),
        line(count="many"),
        '{"msg": "packet dropped"}',
        "\x00\xff",
    ],
)
def test_other_lines_are_passed_over(other: str) -> None:
    assert parse_line(other.encode()) is None


def test_json_has_an_object_a_line() -> None:
    lines = run("-f", "-", "-o", "json", text=f"{line()}\n{line(pod='web')}\n").output.splitlines()

    assert [json.loads(each)["pod"] for each in lines] == ["db", "web"]


@pytest.mark.parametrize(
    ("arguments", "pods"),
    [
        ((), ["db", "web", "api"]),
        (("-n", "shop"), ["db", "web"]),
        (("shop/db",), ["db", "web"]),
        (("db", "-n", "shop"), ["db", "web"]),
        (("api",), ["api"]),
    ],
)
def test_a_pod_is_looked_for_on_both_ends(arguments: tuple[str, ...], pods: list[str]) -> None:
    text = "\n".join(
        [line(), line(pod="web", peer_pod="shop/db"), line(namespace="bank", pod="api", peer_pod="")]
    )

    lines = run("-f", "-", "-o", "json", *arguments, text=text).output.splitlines()

    assert [json.loads(each)["pod"] for each in lines] == pods


def test_what_audit_would_deny_is_marked() -> None:
    assert "PortMismatch (audit)" in run("-f", "-", text=line(msg="packet would be dropped")).output


def test_text_of_others_cannot_move_the_cursor() -> None:
    assert "\x1b" not in run("-f", "-", text=line(peer="\x1b[2J")).output


# Through the API server


class Cluster:
    """An API server with the pods of two agents, and what else a test says."""

    def __init__(self) -> None:
        self.logs = {"agent-1": [line()], "agent-2": [line(ts="2026-01-01T00:00:00Z", pod="web")]}
        self.environment: list[dict[str, str]] = [{"name": "PODGATE_LOG_DROPS", "value": "10/s"}]
        self.forbidden = ""
        self.asked: list[dict[str, str]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        path = request.path
        if self.forbidden and path.endswith(self.forbidden):
            return web.json_response({"kind": "Status", "code": 403, "reason": "Forbidden"}, status=403)
        if path == "/api/v1/pods":
            found = {
                "metadata": {"namespace": "bank", "name": "client"},
                "status": {"podIPs": [{"ip": "10.0.1.9"}]},
            }
            return web.json_response({"metadata": {}, "items": [found]})
        if path == "/api/v1/namespaces/podgate-system/pods":
            assert request.query["labelSelector"].endswith("component=agent")
            return web.json_response({"metadata": {}, "items": [*map(self.agent, self.logs)]})
        self.asked.append(dict(request.query))
        name = path.split("/")[-2]
        return web.Response(text="\n".join(["{}", *self.logs[name], "half a li"]))

    def agent(self, name: str) -> dict[str, Any]:
        container = {"name": "agent", "args": ["agent"], "env": self.environment}
        spec = {"nodeName": name.replace("agent", "node"), "hostNetwork": True, "containers": [container]}
        return {"metadata": {"name": name, "namespace": "podgate-system"}, "spec": spec}


@pytest.fixture
def server() -> Iterator[Cluster]:
    """In a thread, as the command has an event loop of its own."""
    found = Cluster()

    async def serve() -> web.AppRunner:
        app = web.Application()
        app.router.add_route("GET", "/{path:.*}", found.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    with LoopThread() as loop:
        runner = loop.run(serve())
        yield found
        loop.run(runner.cleanup())


@pytest.fixture
def kubeconfig(server: Cluster, tmp_path: Path) -> str:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "x", "cluster": {"server": server.url}}],
        "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "current-context": "x",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    return str(path)


def test_the_lines_of_all_agents_come_in_order_with_node_and_peer(server: Cluster, kubeconfig: str) -> None:
    done = run("--kubeconfig", kubeconfig, "-o", "json", "--since", "2m")

    found = [json.loads(each) for each in done.output.splitlines()]
    assert [(each["node"], each["pod"], each["peer_pod"]) for each in found] == [
        ("node-2", "web", "bank/client"),
        ("node-1", "db", "bank/client"),
    ]
    assert {each["sinceSeconds"] for each in server.asked} == {"120"}


def test_one_node_is_asked_alone(server: Cluster, kubeconfig: str) -> None:
    done = run("--kubeconfig", kubeconfig, "-o", "json", "--node", "node-2")

    assert [json.loads(each)["node"] for each in done.output.splitlines()] == ["node-2"]
    assert len(server.asked) == 1


@pytest.mark.parametrize("environment", [[], [{"name": "PODGATE_LOG_DROPS", "value": "off"}]])
def test_agents_that_do_not_log_are_an_error_that_says_how(
    server: Cluster, kubeconfig: str, environment: list[dict[str, str]]
) -> None:
    server.environment = environment

    error = run("--kubeconfig", kubeconfig).exception

    assert isinstance(error, CommandError)
    assert "set env daemonset/podgate-agent PODGATE_LOG_DROPS=10/s" in str(error)


@pytest.mark.parametrize(("path", "permission"), [("/log", "pods/log"), ("system/pods", "list on pods")])
def test_what_may_not_be_read_is_named(server: Cluster, kubeconfig: str, path: str, permission: str) -> None:
    server.forbidden = path

    error = run("--kubeconfig", kubeconfig).exception

    assert isinstance(error, CommandError)
    assert permission in str(error)


def test_addresses_stay_addresses_where_pods_may_not_be_listed(server: Cluster, kubeconfig: str) -> None:
    server.forbidden = "/api/v1/pods"

    done = run("--kubeconfig", kubeconfig, "-o", "json", "--node", "node-1")

    assert json.loads(done.output)["peer_pod"] == ""


def test_a_node_without_an_agent_is_an_error(kubeconfig: str) -> None:
    error = run("--kubeconfig", kubeconfig, "--node", "node-9").exception

    assert "no agent on node node-9" in str(error)


class Interrupted(Exception):  # noqa: N818 - how a test ends what goes on for ever
    pass


async def test_following_goes_on_after_a_break_and_says_nothing_twice() -> None:
    first, second = (f"2026-01-01T00:00:0{number}.000000000Z {line(count=number)}\n" for number in (1, 2))
    found: list[int] = []

    def take(_agent: object, text: bytes) -> None:
        drop = parse_line(text)
        assert drop is not None
        found.append(drop.count)
        if len(found) == 2:
            raise Interrupted

    async with scripted_server() as server:
        pod = {"metadata": {"name": "agent-1"}, "spec": {"nodeName": "node-1"}}
        server.answers = [
            reply({"metadata": {}, "items": [pod]}),
            cut(first.encode()),
            scripted(first + second),
        ]
        async with ApiClient(server.connection) as client:
            with pytest.raises(Interrupted):
                await follow_logs(client, "podgate-system", "", 60, take)

    assert found == [1, 2]
    assert [each.query.get("sinceTime") for each in server.seen[1:]] == [
        None,
        "2026-01-01T00:00:01.000000000Z",
    ]

"""Whatever dies, the rules stay: the agent, the API server, both, and the file between them."""

import json

import pytest

from controller.dataplane.tools import Backend
from tests.e2e.agent.shop import MORE_PEERS, MORE_POLICIES, SHOP
from tests.e2e.agent.stage import Stage

pytestmark = pytest.mark.kernel

on_nft = pytest.mark.parametrize("backend", [Backend.NFT])
"""For what is the same on both."""


def test_sigterm_leaves_the_rules_and_is_quick(stage: Stage) -> None:
    view = stage.publish(SHOP)
    agent = stage.start_agent()
    stage.wait_for_view(view)

    code, seconds = agent.stop()

    assert code == 0
    assert seconds < 10  # of the 30 that a kubelet gives it
    assert stage.drift(view) == []


def test_enforcement_goes_on_without_the_api_server_and_catches_up(stage: Stage) -> None:
    view = stage.publish(SHOP)
    stage.start_agent("--canary-interval", "0.2")
    stage.wait_for_view(view)
    stage.wait_until(lambda: stage.ask("/readyz")[0] == 200)
    stage.take_api_away()
    later = stage.publish(MORE_POLICIES)

    stage.flush()
    stage.wait_until(lambda: stage.metric('podgate_agent_drift_repairs_total{family="4"}') >= 1)
    stage.wait_for_view(view)
    ready = stage.ask("/readyz")[0]
    stage.bring_api_back()

    stage.wait_for_view(later)
    assert ready == 200


def test_an_agent_that_is_killed_leaves_no_open_window(stage: Stage) -> None:
    view = stage.publish(SHOP)
    agent = stage.start_agent()
    stage.wait_for_view(view)
    agent.kill()
    later = stage.publish(MORE_PEERS)

    stage.start_agent()

    def is_there() -> bool:
        assert stage.has_rules(), "there was a moment without rules"
        return not stage.drift(later)

    stage.wait_until(is_there)


def test_a_start_without_the_api_server_goes_on_from_the_disk(stage: Stage) -> None:
    view = stage.publish(SHOP)
    first = stage.start_agent()
    stage.wait_for_view(view)
    stage.wait_until(lambda: stage.ask("/readyz")[0] == 200)
    first.stop()
    stage.clean()
    stage.take_api_away()

    stage.start_agent()

    stage.wait_for_view(view)
    stage.wait_until(lambda: stage.ask("/readyz")[0] == 200)


@on_nft
def test_what_is_on_disk_gives_way_to_the_api_server(stage: Stage) -> None:
    stage.publish(SHOP)
    first = stage.start_agent()
    stage.wait_until(lambda: stage.ask("/readyz")[0] == 200)
    first.stop()
    stage.clean()
    stage.take_api_away()
    later = stage.publish(MORE_POLICIES)
    stage.start_agent()
    stage.wait_for_view(SHOP.view())

    stage.bring_api_back()

    stage.wait_for_view(later)


@on_nft
def test_rules_of_an_earlier_run_are_kept_until_everything_is_listed(stage: Stage) -> None:
    view = stage.publish(SHOP)
    first = stage.start_agent()
    stage.wait_for_view(view)
    first.stop()
    (stage.state_dir / "last-good.json").unlink()
    stage.take_api_away()
    stage.start_agent()

    stage.wait_until(lambda: stage.ask("/readyz")[0] == 503)

    assert stage.drift(view) == []


@on_nft
def test_rules_of_an_earlier_run_are_looked_after_without_the_api_server(stage: Stage) -> None:
    view = stage.publish(SHOP)
    first = stage.start_agent()
    stage.wait_until(lambda: stage.ask("/readyz")[0] == 200)
    first.stop()
    stage.take_api_away()
    stage.start_agent("--canary-interval", "0.2")

    stage.wait_until(lambda: stage.ask("/readyz")[0] == 200)
    stage.flush()

    stage.wait_until(lambda: stage.metric('podgate_agent_drift_repairs_total{family="4"}') >= 1)
    stage.wait_for_view(view)


@on_nft
def test_a_file_that_is_damaged_is_not_trusted(stage: Stage) -> None:
    stage.publish(SHOP)
    first = stage.start_agent()
    stage.wait_until(lambda: stage.ask("/readyz")[0] == 200)
    first.stop()
    stage.clean()
    stage.take_api_away()
    path = stage.state_dir / "last-good.json"
    path.write_bytes(path.read_bytes().replace(b"10.0.0.3", b"10.0.0.9"))

    second = stage.start_agent()

    stage.wait_until(lambda: "does not fit its checksum" in second.log())
    stage.wait_until(lambda: stage.ask("/readyz")[0] == 503)
    assert not stage.has_rules()


@on_nft
def test_a_file_of_another_node_is_not_trusted(stage: Stage) -> None:
    stage.publish(SHOP)
    first = stage.start_agent()
    stage.wait_until(lambda: stage.ask("/readyz")[0] == 200)
    first.stop()
    stage.clean()
    stage.take_api_away()
    path = stage.state_dir / "last-good.json"
    head, _, rest = path.read_bytes().partition(b"\n")
    path.write_bytes(json.dumps({**json.loads(head), "node": "node-2"}).encode() + b"\n" + rest)

    second = stage.start_agent()

    stage.wait_until(lambda: "is of node 'node-2'" in second.log())
    stage.wait_until(lambda: stage.ask("/readyz")[0] == 503)
    assert not stage.has_rules()


@on_nft
def test_a_health_address_in_use_is_an_error_of_one_line(stage: Stage) -> None:
    stage.publish(SHOP)
    stage.start_agent()
    stage.wait_until(lambda: stage.ask("/livez")[0] == 200)

    second = stage.start_agent()

    assert second.process.wait(timeout=20) == 2
    assert "cannot serve health on 127.0.0.1:9441" in second.log()


@on_nft
def test_a_backend_that_cannot_be_told_is_refused(stage: Stage) -> None:
    for backend in Backend:
        stage.run(f"iptables-{backend}", "-t", "mangle", "-N", "KUBE-IPTABLES-HINT")
    try:
        agent = stage.start_agent("--backend", "auto")

        assert agent.process.wait(timeout=20) == 2
    finally:
        for backend in Backend:
            stage.run(f"iptables-{backend}", "-t", "mangle", "-X", "KUBE-IPTABLES-HINT")
    assert agent.log().startswith("podgate: kubelet's hint chains are in both iptables backends")

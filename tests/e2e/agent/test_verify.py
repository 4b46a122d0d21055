"""`podgate verify --kernel` beside a real agent, with the agent's own account."""

import json
import subprocess
import sys
from typing import Any

import pytest
from msgspec.structs import replace

from controller.dataplane.ruleset import TABLE
from controller.dataplane.tools import Backend
from controller.engine.group_slices import GroupPacking, slice_spec
from controller.engine.node_policies import group_id
from controller.engine.rulesets import NodeView
from controller.kube.resource import PEER_GROUP_SLICES
from controller.lab.apiserver import write_kubeconfig
from controller.objects.resources import slice_name
from tests.e2e.agent.publisher import peer_slice
from tests.e2e.agent.shop import SHOP
from tests.e2e.agent.stage import PORT, Stage
from tests.unit.builder import NODE

pytestmark = pytest.mark.kernel

_PROGRAM = "from controller.cli.main import main; main()"
on_nft = pytest.mark.parametrize("backend", [Backend.NFT])


def verify(stage: Stage, *options: str) -> tuple[int, str]:
    """The exit code and output of the command on the node, with the account of the agent."""
    kubeconfig = stage.folder / "kubeconfig"
    write_kubeconfig(kubeconfig, f"http://127.0.0.1:{PORT}", token="agent")  # noqa: S106 - of this test
    call = [
        *("verify", "--kernel", "--node", NODE, "--netns", stage.namespace.name),
        *("--backend", stage.backend.value, "--kubeconfig", str(kubeconfig), "--settle", "0s", *options),
    ]
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", _PROGRAM, *call], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def enforced(stage: Stage) -> NodeView:
    """The shop, in the kernel; the agent is gone, so that nobody mends it."""
    view = stage.publish(SHOP)
    agent = stage.start_agent()
    stage.wait_for_view(view)
    agent.stop()
    return view


def test_a_kernel_that_holds_what_is_published_is_as_it_should_be(stage: Stage) -> None:
    enforced(stage)

    code, text = verify(stage)

    place = f"1 pod, 1 ruleset, 1 peer group ({stage.backend})"
    assert (code, text) == (0, f"published -> kernel     as it should be: {place}\n")


@on_nft
def test_it_asks_for_no_more_than_the_agent_may(stage: Stage) -> None:
    enforced(stage)

    verify(stage)

    asked = [each for each in stage.server.parts.access.audit if each.agent.startswith("podgate-cli")]
    assert {(each.verb, each.resource, each.code) for each in asked} == {
        ("list", "nodepolicies", 200),
        ("list", "peergroupslices", 200),
    }


def test_an_edited_rule_is_drift(stage: Stage) -> None:
    enforced(stage)
    tool = f"iptables-{stage.backend}"
    rules = stage.run(tool, "--wait", "5", "-t", TABLE, "-S").splitlines()
    chain = next(line.split()[1] for line in rules if "shop/db spec.ingress" in line)
    stage.run(tool, "--wait", "5", "-t", TABLE, "-R", chain, "1", "-j", "RETURN")

    code, text = verify(stage)

    assert code == 1
    assert f"kernel of node-1 IPv4: chain {chain}: " in text


@on_nft
def test_an_entry_too_many_is_drift_and_named_in_json(stage: Stage) -> None:
    enforced(stage)
    names = stage.run("ipset", "list", "-n").split()
    peers = next(name for name in names if "10.0.9.1" in stage.run("ipset", "list", name))
    stage.run("ipset", "add", peers, "10.66.6.6")

    code, text = verify(stage, "-o", "json")

    (link,) = json.loads(text)["links"]
    wanted = {"object": "kernel of node-1", "message": f"IPv4: set {peers} holds 10.66.6.6 and should not"}
    assert (code, link["differences"]) == (1, [wanted])


@on_nft
def test_a_slice_that_is_missing_is_said_with_the_pods_that_it_isolates(stage: Stage) -> None:
    view = enforced(stage)
    (group,) = (group_id(each) for each in view.groups)
    stage.do(stage.client.delete(PEER_GROUP_SLICES, slice_name(group, 0)))

    code, text = verify(stage)

    assert code == 1
    assert f"GroupsIncomplete: slices are missing of the peer groups {group}" in text
    assert "shop/db" in text


@on_nft
def test_a_slice_with_another_member_differs_from_the_kernel(stage: Stage) -> None:
    view = enforced(stage)
    (group,) = (group_id(each) for each in view.groups)
    packing = GroupPacking()
    packing.become({"10.0.9.9"})
    found = peer_slice(group, replace(slice_spec(packing, 0, "pods"), count=1))
    stage.do(stage.publisher.put_slice(found))

    code, text = verify(stage)

    assert code == 1
    assert "lacks 10.0.9.9" in text


@on_nft
def test_without_a_node_policy_there_is_nothing_to_compare_with(stage: Stage) -> None:
    enforced(stage)
    stage.do(stage.publisher.forget_policy(NODE))

    code, text = verify(stage)

    assert code == 1
    assert "NodePolicy node-1 does not exist: there is nothing to compare with" in text


@on_nft
def test_rules_made_with_other_options_differ(stage: Stage) -> None:
    enforced(stage)

    code, _ = verify(stage, "--unknown-pods", "deny")

    assert code == 1


@on_nft
def test_a_node_policy_that_cannot_be_read_is_said(stage: Stage) -> None:
    enforced(stage)
    bad: dict[str, Any] = {"digest": "x", "pods": "none"}
    stage.do(stage.publisher.put_policy(NODE, bad))

    code, text = verify(stage)

    assert code == 1
    assert "NodePolicyUnreadable" in text

"""What the manifests pass to podgate is what podgate takes."""

import importlib
import re

import click
import pytest

from controller.operator.process import LEASE
from controller.telemetry.health import split_address
from tests.unit.manifests.folders import (
    BASE,
    CLEANUP,
    MANIFESTS,
    OVERLAYS,
    Object,
    built,
    containers,
    named,
    needs_kubectl,
    read,
)

INSTALLED = read(BASE)
CONTAINERS = [each for each in containers(*INSTALLED, *read(CLEANUP)) if "args" in each]
ADDRESSES = {
    "POD_IP": "fd00::7",
    "HOST_IP": "192.0.2.1",
    "POD_NAMESPACE": "podgate-system",
    "NODE_NAME": "node-1",
}


def by_name(container: Object) -> str:
    name: str = container["name"]
    return name


def command_of(container: Object) -> click.Command:
    command: click.Command = importlib.import_module(f"controller.cli.{container['args'][0]}").command
    return command


def arguments_of(container: Object) -> list[str]:
    """With the variables that kubelet puts in."""
    defined = {each["name"] for each in container.get("env", ())}
    for argument in container["args"]:
        assert set(re.findall(r"\$\((\w+)\)", argument)) <= defined
    return [re.sub(r"\$\((\w+)\)", lambda name: ADDRESSES[name[1]], each) for each in container["args"][1:]]


def parsed(container: Object) -> dict[str, object]:
    command = command_of(container)
    with command.make_context(command.name, arguments_of(container)) as context:
        return context.params


@pytest.mark.parametrize("container", CONTAINERS, ids=by_name)
def test_every_argument_is_an_option_of_the_command(container: Object) -> None:
    assert parsed(container)


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda folder: folder.name)
def test_so_they_are_in_the_overlays(overlay: object) -> None:
    for container in (each for each in containers(*built(overlay)) if "args" in each):
        assert parsed(container)


@needs_kubectl
def test_the_audit_overlay_audits_and_nothing_else() -> None:
    (plain,) = containers(named("Deployment", "podgate-operator", built(BASE)))
    (found,) = containers(named("Deployment", "podgate-operator", built(MANIFESTS / "overlays" / "audit")))

    assert (parsed(plain)["mode"], parsed(found)["mode"]) == ("enforce", "audit")
    assert {**found, "args": found["args"][:-1]} == plain


@pytest.mark.parametrize("container", [each for each in CONTAINERS if "ports" in each], ids=by_name)
def test_the_port_is_the_default_one_and_the_one_that_is_probed(container: Object) -> None:
    (port,) = container["ports"]
    (default,) = (each.default for each in command_of(container).params if each.name == "health_address")

    assert split_address(str(parsed(container)["health_address"]))[1] == port["containerPort"]
    assert split_address(str(default))[1] == port["containerPort"]
    assert container["livenessProbe"]["httpGet"]["port"] == port["name"]
    assert container["readinessProbe"]["httpGet"]["port"] == port["name"]


@pytest.mark.parametrize("address", ["10.0.0.7", "fd00::7"])
def test_a_pod_address_of_either_family_can_be_served_on(address: str) -> None:
    assert split_address(f"[{address}]:9440") == (address, 9440)


def test_the_state_is_kept_where_the_host_keeps_it() -> None:
    agent = named("DaemonSet", "podgate-agent", INSTALLED)
    (container,) = containers(agent)
    (mount,) = (each for each in container["volumeMounts"] if each["name"] == "state")

    assert str(parsed(container)["state_dir"]) == mount["mountPath"]


def test_the_lease_is_the_one_that_the_operator_may_write() -> None:
    role = named("Role", "podgate-operator", INSTALLED)

    assert [rule.get("resourceNames") for rule in role["rules"]] == [None, [LEASE]]

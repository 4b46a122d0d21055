"""kube-proxy in ipvs mode is recognised by its interface."""

from pathlib import Path

from controller.agent.proxy_mode import ipvs_problem

_DEVICES = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0
{name}:       0       0    0    0    0     0          0         0        0       0    0    0    0     0
"""


def test_its_interface_is_a_problem(tmp_path: Path) -> None:
    devices = tmp_path / "dev"
    devices.write_text(_DEVICES.format(name="kube-ipvs0"))

    assert [each.reason for each in ipvs_problem(devices)] == ["KubeProxyIPVS"]


def test_another_interface_is_none(tmp_path: Path) -> None:
    devices = tmp_path / "dev"
    devices.write_text(_DEVICES.format(name="not-kube-ipvs0"))

    assert ipvs_problem(devices) == ()


def test_without_a_list_nothing_is_said(tmp_path: Path) -> None:
    assert ipvs_problem(tmp_path / "missing") == ()

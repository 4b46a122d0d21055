"""When a family is not there, and when nothing of it would be enforced: only the kernel is believed."""

from pathlib import Path

import pytest

from controller.dataplane.families import absence, disuse
from controller.engine.rulesets import LocalPod, NodeView
from controller.objects.addresses import parse_cidr

NOBODY = NodeView("node-1")


@pytest.fixture
def proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The files of the kernel, of which none is there at first."""
    monkeypatch.setattr("controller.dataplane.families.INET6", tmp_path / "if_inet6")
    monkeypatch.setattr("controller.dataplane.families.DISABLED", (tmp_path / "all", tmp_path / "default"))
    return tmp_path


@pytest.mark.usefixtures("proc")
def test_a_kernel_without_ipv6_lacks_that_family_alone() -> None:
    assert "this kernel has no IPv6" in absence(6)
    assert absence(4) == ""


def test_a_kernel_with_ipv6_lacks_nothing(proc: Path) -> None:
    (proc / "if_inet6").touch()

    assert absence(6) == ""


@pytest.mark.usefixtures("proc")
@pytest.mark.parametrize(
    "view",
    [
        NodeView("node-1", pods=(LocalPod("shop", "web", ("10.0.0.1", "fd00::1")),)),
        NodeView("node-1", known=("fd00::1",)),
        NodeView("node-1", pod_cidrs=(parse_cidr("fd00::/64"),)),
    ],
    ids=["an isolated pod", "a known pod", "a block for pods"],
)
def test_a_family_of_which_a_pod_has_an_address_or_may_get_one_is_in_use(view: NodeView) -> None:
    assert disuse(6, view) == ""
    assert disuse(6, NOBODY) == "no pod of this node has an IPv6 address"
    assert disuse(4, NodeView("node-1", known=("fd00::1",))) == "no pod of this node has an IPv4 address"


@pytest.mark.parametrize(("switches", "off"), [("11", True), ("10", False), ("01", False), ("00", False)])
def test_ipv6_is_switched_off_where_every_switch_says_so(proc: Path, switches: str, off: bool) -> None:
    for name, switch in zip(("all", "default"), switches, strict=True):
        (proc / name).write_text(f"{switch}\n")
    view = NodeView("node-1", known=("10.0.0.1", "fd00::1"))

    assert ("switched off" in disuse(6, view)) is off
    assert disuse(4, view) == ""

"""Which backend a node uses, told from what kubelet and others left there, without leaving anything."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.dataplane.backend import BackendError, detect
from controller.dataplane.tools import Backend
from tests.kernel.host import TOOLS, Host, needs_host

pytestmark = needs_host

OTHER = {Backend.NFT: Backend.LEGACY, Backend.LEGACY: Backend.NFT}
HINTS = ["KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY"]


@pytest.fixture(params=list(Backend))
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    with Host(request.param, tmp_path) as found:
        yield found


def state(host: Host) -> tuple[str, ...]:
    """Everything that looking could have made."""
    names = (Path(f"/proc/net/{tool}_names").read_text() for tool in ("ip_tables", "ip6_tables"))
    return (host.run("nft", "list", "ruleset"), *names)


@pytest.mark.parametrize("hint", HINTS)
@pytest.mark.parametrize("family", TOOLS)
def test_the_backend_with_kubelets_hint_chain_is_the_one(host: Host, hint: str, family: int) -> None:
    host.iptables(f"-N {hint}", family)
    before = state(host)

    assert detect(host.runner) is host.backend

    assert state(host) == before


def test_a_hint_weighs_more_than_any_number_of_rules(host: Host) -> None:
    host.iptables("-N KUBE-IPTABLES-HINT")
    for table, chain in (("mangle", "FORWARD"), ("nat", "OUTPUT"), ("filter", "INPUT")):
        host.iptables(f"-t {table} -A {chain} -j RETURN", backend=OTHER[host.backend])

    assert detect(host.runner) is host.backend


def test_hints_in_both_backends_are_refused(host: Host) -> None:
    for backend in Backend:
        host.iptables("-N KUBE-IPTABLES-HINT", backend=backend)

    with pytest.raises(BackendError, match=r"in both iptables backends.* --backend nft\|legacy"):
        detect(host.runner)


def test_a_chain_of_a_similar_name_is_no_hint(host: Host) -> None:
    host.iptables("-N MY-KUBE-IPTABLES-HINT", backend=Backend.LEGACY)

    assert detect(host.runner) is Backend.NFT


def test_an_empty_node_gets_nft_and_stays_empty(host: Host) -> None:
    before = state(host)

    assert detect(host.runner) is Backend.NFT

    assert before == state(host) == ("", "", "")


@pytest.mark.parametrize(
    ("table", "chain"), [("mangle", "FORWARD"), ("nat", "PREROUTING"), ("filter", "INPUT")]
)
@pytest.mark.parametrize("family", TOOLS)
def test_without_hints_the_only_backend_with_rules_is_the_one(
    host: Host, table: str, chain: str, family: int
) -> None:
    host.iptables(f"-t {table} -A {chain} -p tcp -j RETURN", family)
    before = state(host)

    assert detect(host.runner) is host.backend

    assert state(host) == before


def test_legacy_tables_that_somebody_loaded_by_looking_do_not_make_legacy_the_backend(host: Host) -> None:
    host.run("iptables-legacy", "-L", "-n")
    before = state(host)
    assert before[1] == "filter\n"

    assert detect(host.runner) is Backend.NFT

    assert state(host) == before


def test_rules_in_both_backends_and_no_hint_mean_nft(host: Host) -> None:
    for backend in Backend:
        host.iptables("-t filter -A INPUT -j RETURN", backend=backend)

    assert detect(host.runner) is Backend.NFT

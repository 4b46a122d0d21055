"""Which backend a node uses, by what the tools answer; what real tools answer, the kernel tests show."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from controller.dataplane import backend
from controller.dataplane.backend import BackendError, detect, legacy_tables, saved_table
from controller.dataplane.tools import Backend, Result, ToolError, ToolMissingError

HINT = "*mangle\n:KUBE-IPTABLES-HINT - [0:0]\nCOMMIT\n"
CANARY = "*mangle\n:KUBE-KUBELET-CANARY - [0:0]\nCOMMIT\n"
RULES = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j DROP\nCOMMIT\n"
EMPTY = "*mangle\n:FORWARD ACCEPT [0:0]\nCOMMIT\n"
NO_NFT = Result(1, "", "Failed to initialize nft: Protocol not supported")


class Saving:
    """A machine that answers the save commands: of `nft4`, `nft6`, ...; None is not installed."""

    def __init__(self, answers: Mapping[str, str | Result | None]) -> None:
        self._answers = answers
        self.asked: list[str] = []

    def run(self, command: Sequence[str], text: str = "") -> Result:
        assert not text
        tool, kind, save = command[0].split("-")
        assert save == "save"
        self.asked.append(f"{kind}{6 if tool == 'ip6tables' else 4}")
        answer = self._answers.get(self.asked[-1], "")
        if answer is None:
            raise ToolMissingError(command, f"{command[0]} is not installed")
        return answer if isinstance(answer, Result) else Result(0, answer, "")


@pytest.fixture(autouse=True)
def no_legacy_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        backend, "LEGACY_TABLES", {4: tmp_path / "ip_tables_names", 6: tmp_path / "ip6_tables_names"}
    )


@pytest.fixture
def legacy(no_legacy_tables: None) -> None:  # noqa: ARG001
    """The kernel has legacy tables of IPv4."""
    backend.LEGACY_TABLES[4].write_text("filter\nmangle\n")


# With kubelet's hints


@pytest.mark.parametrize("text", [HINT, CANARY])
@pytest.mark.parametrize("family", [4, 6])
def test_a_hint_in_nft_of_either_family_means_nft(text: str, family: int) -> None:
    assert detect(Saving({f"nft{family}": text})) is Backend.NFT


@pytest.mark.parametrize("text", [HINT, CANARY])
@pytest.mark.usefixtures("legacy")
def test_a_hint_in_legacy_means_legacy(text: str) -> None:
    assert detect(Saving({"legacy4": text, "nft4": RULES})) is Backend.LEGACY


@pytest.mark.usefixtures("legacy")
def test_hints_in_both_are_refused_with_a_way_out() -> None:
    with pytest.raises(BackendError, match=r"--backend nft\|legacy"):
        detect(Saving({"legacy4": HINT, "nft6": CANARY}))


@pytest.mark.usefixtures("legacy")
def test_a_hint_in_one_is_enough_where_the_other_cannot_be_read() -> None:
    assert detect(Saving({"legacy4": HINT, "nft4": NO_NFT, "nft6": NO_NFT})) is Backend.LEGACY
    assert detect(Saving({"legacy4": NO_NFT, "nft4": HINT})) is Backend.NFT


@pytest.mark.usefixtures("legacy")
@pytest.mark.parametrize(
    "text", [":KUBE-SERVICES - [0:0]\n", ":X-KUBE-IPTABLES-HINT - [0:0]\n", "-A X -j KUBE-IPTABLES-HINT\n"]
)
def test_only_the_hint_chains_themselves_are_hints(text: str) -> None:
    assert detect(Saving({"legacy4": f"*mangle\n{text}COMMIT\n", "nft4": RULES})) is Backend.NFT


# Without


def test_a_node_without_anything_gets_nft() -> None:
    assert detect(Saving({})) is Backend.NFT


@pytest.mark.usefixtures("legacy")
def test_a_node_on_which_only_legacy_has_rules_gets_legacy() -> None:
    assert detect(Saving({"legacy4": RULES, "nft4": EMPTY, "nft6": EMPTY})) is Backend.LEGACY


@pytest.mark.usefixtures("legacy")
@pytest.mark.parametrize("family", [4, 6])
def test_rules_in_both_mean_nft(family: int) -> None:
    assert detect(Saving({"legacy4": RULES, f"nft{family}": RULES})) is Backend.NFT


@pytest.mark.usefixtures("legacy")
def test_legacy_tables_without_rules_mean_nothing() -> None:
    assert detect(Saving({"legacy4": EMPTY})) is Backend.NFT


@pytest.mark.usefixtures("legacy")
def test_legacy_is_no_guess_after_a_failure_of_nft() -> None:
    """One call that failed once made other implementations write rules that nobody consulted."""
    with pytest.raises(BackendError, match=r"nft cannot be read.*--backend"):
        detect(Saving({"legacy4": RULES, "nft4": NO_NFT}))


@pytest.mark.usefixtures("legacy")
def test_where_the_tools_of_nft_are_not_installed_legacy_is_the_one_with_rules() -> None:
    assert detect(Saving({"legacy4": RULES, "nft4": None, "nft6": None})) is Backend.LEGACY


# Looking leaves nothing


def test_legacy_tools_are_not_even_started_where_the_kernel_has_no_legacy_tables() -> None:
    saving = Saving({})

    detect(saving)

    assert not [tool for tool in saving.asked if tool.startswith("legacy")]


def test_legacy_tools_are_started_for_the_family_that_has_tables_only(legacy: None) -> None:  # noqa: ARG001
    saving = Saving({"legacy4": RULES})

    detect(saving)

    assert "legacy6" not in saving.asked


def test_a_kernel_without_legacy_iptables_has_no_legacy_tables() -> None:
    assert legacy_tables(4) == legacy_tables(6) == frozenset()


# The text of our table


def test_a_legacy_table_that_does_not_exist_is_empty_and_is_not_asked_for() -> None:
    saving = Saving({})

    assert saved_table(saving, Backend.LEGACY, 4) == ""
    assert saving.asked == []


def test_a_table_that_nft_wrote_in_its_own_ways_is_an_error_although_the_exit_code_is_0() -> None:
    words = "# Table `mangle' is incompatible, use 'nft' tool."

    with pytest.raises(ToolError, match="Table `mangle' is incompatible, use 'nft' tool"):
        saved_table(Saving({"nft4": f"# x\n{words}\n"}), Backend.NFT, 4)


def test_somebodys_comment_that_says_so_is_none() -> None:
    comment = "Table x is incompatible, use 'nft' tool"
    text = f'*mangle\n-A FORWARD -m comment --comment "{comment}"\nCOMMIT\n'

    assert saved_table(Saving({"nft4": text}), Backend.NFT, 4) == text


def test_a_call_that_failed_is_an_error_in_the_tools_own_words() -> None:
    with pytest.raises(ToolError, match="iptables-nft-save -t mangle: exit code 1: Failed to initialize nft"):
        saved_table(Saving({"nft4": NO_NFT}), Backend.NFT, 4)

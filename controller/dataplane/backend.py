"""Which iptables backend a node uses: the one kubelet and kube-proxy use, or a clear refusal.

Rules in the other backend are accepted by the kernel and consulted beside the others, so a wrong guess does
not fail: it makes two rule sets that nobody can reason about. The hint chains that kubelet leaves in the
mangle table tell; where they do not, podgate asks. Looking must not load the legacy modules, which
`iptables-legacy-save` does: the kernel's own list says whether they are there.
"""

import re
from pathlib import Path

from controller.dataplane.families import absence
from controller.dataplane.ruleset import TABLE
from controller.dataplane.tools import Backend, Runner, ToolError, ToolMissingError, require, save_command

HINTS = (":KUBE-IPTABLES-HINT", ":KUBE-KUBELET-CANARY")
LEGACY_TABLES = {4: Path("/proc/net/ip_tables_names"), 6: Path("/proc/net/ip6_tables_names")}


_INCOMPATIBLE = re.compile(r"^# Table .* is incompatible, use 'nft' tool", re.MULTILINE)
"""What iptables-nft says, with exit code 0, of a table that nft wrote in ways iptables cannot express."""


class BackendError(Exception):
    """The backend cannot be told, or contradicts itself; the message says what to do."""


def detect(runner: Runner) -> Backend:
    """The backend that carries kubelet's hint chains.

    Where neither does: legacy if only legacy has rules at all, else nft. Raises BackendError where both carry
    hints, and where nft cannot be read so that legacy would be a guess.
    """
    hinted = [backend for backend in Backend if _has_hint(runner, backend)]
    if len(hinted) > 1:
        raise BackendError(
            "kubelet's hint chains are in both iptables backends, so one set is a leftover; "
            "remove it or say which to use with --backend nft|legacy"
        )
    if hinted:
        return hinted[0]
    return Backend.LEGACY if _only_legacy_is_used(runner) else Backend.NFT


def legacy_tables(family: int) -> frozenset[str]:
    """The legacy tables that exist in this network namespace.

    None where the kernel has no legacy iptables.
    """
    try:
        return frozenset(LEGACY_TABLES[family].read_text().split())
    except FileNotFoundError:
        return frozenset()


def saved_table(runner: Runner, backend: Backend, family: int) -> str:
    """The text of our table, "" where the backend has none. Raises ToolError; never creates the table."""
    if backend is Backend.LEGACY and TABLE not in legacy_tables(family):
        return ""
    command = save_command(backend, family, TABLE)
    result = require(runner.run(command), command)
    refusal = _INCOMPATIBLE.search(result.output + result.errors)
    if refusal is not None:  # the exit code is 0 nevertheless
        raise ToolError(command, refusal[0].lstrip("# "))
    return result.output


def _has_hint(runner: Runner, backend: Backend) -> bool:
    for family in (6, 4):
        try:
            lines = saved_table(runner, backend, family).splitlines()
        except ToolError:
            continue  # a family that cannot be read carries no hint
        if any(line.startswith(HINTS) for line in lines):
            return True
    return False


def _only_legacy_is_used(runner: Runner) -> bool:
    families = [family for family in (4, 6) if not absence(family)]
    if not any(legacy_tables(family) and _rules(runner, Backend.LEGACY, family) for family in families):
        return False
    try:
        return not any(_rules(runner, Backend.NFT, family) for family in families)
    except ToolMissingError:
        return True
    except ToolError as error:
        # One failed call is no proof that nobody uses nft: rules in the wrong backend protect nobody.
        raise BackendError(
            f"no kubelet has left a hint, legacy iptables holds rules, and nft cannot be read ({error}); "
            "say which to use with --backend nft|legacy"
        ) from error


def _rules(runner: Runner, backend: Backend, family: int) -> bool:
    """Whether any table of a backend holds a rule. Raises ToolError; never creates a table."""
    command = save_command(backend, family)
    output = require(runner.run(command), command).output
    return any(line.startswith("-A") for line in output.splitlines())

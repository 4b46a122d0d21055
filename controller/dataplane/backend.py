"""Which iptables backend a node uses: the one kubelet and kube-proxy use, or a clear refusal.

Rules in the other backend are accepted by the kernel and consulted beside the others, so a wrong guess does
not fail: it makes two rule sets that nobody can reason about. The hint chains that kubelet leaves in the
mangle table tell; where they do not, podgate asks. Looking must not load the legacy modules, which
`iptables-legacy-save` does: the kernel's own list says whether they are there.
"""

from pathlib import Path

from controller.dataplane.ruleset import TABLE
from controller.dataplane.tools import Backend, Runner, ToolError, save_command

HINTS = (":KUBE-IPTABLES-HINT", ":KUBE-KUBELET-CANARY")
LEGACY_TABLES = {4: Path("/proc/net/ip_tables_names"), 6: Path("/proc/net/ip6_tables_names")}


class BackendError(Exception):
    """The backend cannot be told, or contradicts itself; the message says what to do."""


def detect(runner: Runner) -> Backend:
    """The backend that carries kubelet's hint chains.

    Where neither does: the one that has rules at all, or nft on a node without any. Raises BackendError where
    both carry hints.
    """
    hinted = [backend for backend in Backend if _has_hint(runner, backend)]
    if len(hinted) > 1:
        raise BackendError(
            "kubelet's hint chains are in both iptables backends, so one set is a leftover; "
            "remove it or say which to use with --backend nft|legacy"
        )
    if hinted:
        return hinted[0]
    if legacy_tables(4) and not _is_used(runner, Backend.NFT):
        return Backend.LEGACY
    return Backend.NFT


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
    result = runner.run(command)
    if result.code or "incompatible" in result.output + result.errors:
        raise ToolError(command, (result.errors or result.output).strip()[:500] or f"exit code {result.code}")
    return result.output


def _has_hint(runner: Runner, backend: Backend) -> bool:
    lines = (line for family in (6, 4) for line in _lines(runner, backend, family))
    return any(line.startswith(HINTS) for line in lines)


def _is_used(runner: Runner, backend: Backend) -> bool:
    return any(line.startswith("-A") for family in (4, 6) for line in _lines(runner, backend, family))


def _lines(runner: Runner, backend: Backend, family: int) -> list[str]:
    try:
        return saved_table(runner, backend, family).splitlines()
    except ToolError:
        return []  # a backend that cannot be read is not the one in use

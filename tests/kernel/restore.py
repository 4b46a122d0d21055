"""Loading rulesets into a network namespace that lives as long as one shell command."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from controller.dataplane.render import render_rules, render_sets
from controller.dataplane.ruleset import Ruleset

TOOLS = {4: "iptables", 6: "ip6tables"}
BACKENDS = ("nft", "legacy")

_NEEDED = [
    "unshare",
    "ip",
    "ipset",
    "nft",
    *(f"{tool}-{each}-save" for tool in TOOLS.values() for each in BACKENDS),
]
_missing = [tool for tool in _NEEDED if shutil.which(tool) is None]


def _may_make_namespaces() -> bool:
    """Root of a container may still not; then nothing here can run."""
    unshare = shutil.which("unshare")
    return (
        unshare is not None
        and subprocess.run([unshare, "--net", "true"], check=False, capture_output=True).returncode == 0
    )


needs_kernel = [
    pytest.mark.kernel,
    pytest.mark.skipif(not _may_make_namespaces(), reason="needs root, for a network namespace of its own"),
    pytest.mark.skipif(bool(_missing), reason=f"needs {', '.join(_missing)}"),
]


def write_texts(ruleset: Ruleset, folder: Path) -> None:
    """The input of `load_command`."""
    (folder / "sets").write_text(render_sets(ruleset))
    (folder / "rules").write_text(render_rules(ruleset))


def load_command(ruleset: Ruleset, backend: str) -> str:
    """Shell: sets first, then the rules that name them."""
    return f"ipset restore < sets\n{TOOLS[ruleset.family]}-{backend}-restore --noflush < rules\n"


def in_namespace(script: str, folder: Path) -> str:
    """The output of a shell script run in a folder and a network namespace that ends with it."""
    # A lock of its own: xtables' usual one is shared with everybody on the machine.
    environment = os.environ | {"XTABLES_LOCKFILE": str(folder / "xtables.lock")}
    command = ["unshare", "--net", "sh", "-euc", script]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{script}"
    return done.stdout

"""What the processes of a lab run, whatever lies in the folder where somebody starts it."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from controller.dataplane.tools import Backend
from controller.lab.processes import python
from controller.lab.programs import agent_argv, apiserver_argv, controlplane_argv, operator_argv
from controller.lab.rundir import RunDir, Settings
from controller.lab.wiring import Cni

_RUN_DIR = RunDir(Path("/nowhere"))
_SETTINGS = Settings(name="lab", cni=Cni.PTP, backend=Backend.NFT, families=(4,), port=1)
_SHADOWED = ("click", "msgspec", "aiohttp", "controller")


@pytest.mark.parametrize(
    "argv",
    [
        apiserver_argv(()),
        controlplane_argv(_RUN_DIR),
        operator_argv(_RUN_DIR),
        agent_argv(_RUN_DIR, _SETTINGS, "node-1"),
        python("-m", "controller.lab.requirements"),
    ],
    ids=["apiserver", "controlplane", "operator", "agent", "requirements"],
)
def test_modules_of_the_folder_are_not_run(argv: Sequence[str], tmp_path: Path) -> None:
    """`podgate lab up` in a folder of somebody else's ran its click.py, as root."""
    for name in _SHADOWED:
        (tmp_path / f"{name}.py").write_text('raise SystemExit("taken from the folder")\n')

    done = subprocess.run(  # noqa: S603 - our own commands
        [*argv, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert "taken from the folder" not in done.stderr

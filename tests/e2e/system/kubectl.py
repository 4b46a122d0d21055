"""The real kubectl, as a user of the lab's cluster runs it."""

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.e2e.system.system import System

_COMMAND = shutil.which("kubectl")

needs_kubectl = pytest.mark.skipif(_COMMAND is None, reason="needs kubectl")


async def kubectl(system: System, *arguments: str | Path) -> str:
    """The output of a command, which must succeed."""
    process = await asyncio.create_subprocess_exec(
        str(_COMMAND),
        *("--kubeconfig", str(system.lab.run_dir.kubeconfig)),
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, f"kubectl {' '.join(map(str, arguments))}: {errors.decode()}"
    return output.decode()

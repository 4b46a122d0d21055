"""What the verbs of `podgate lab` share: which lab, and its failures as lines for people."""

import asyncio
import functools
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click

from controller.cli.failure import CommandError
from controller.cli.output.escapes import plain
from controller.kube.errors import KubeError
from controller.lab.addressing import AddressError
from controller.lab.bringup import BringUpError
from controller.lab.lab import Lab, NotReadyError
from controller.lab.manifests import ManifestError
from controller.lab.namespaces import CommandError as ToolFailure
from controller.lab.network import LAB_NAME
from controller.lab.processes import PATH as PATH_OF_TOOLS
from controller.lab.rundir import DEFAULT_NAME, LabStateError, RunDir, labs_folder
from controller.lab.targets import TargetError
from controller.lab.unprivileged import UnprivilegedError, is_root, join

PATH = click.Path(path_type=Path)
_FAILURES = (
    AddressError,
    BringUpError,
    KubeError,
    LabStateError,
    ManifestError,
    NotReadyError,
    TargetError,
    ToolFailure,
    UnprivilegedError,
)


def lab_options(function: Callable[..., int]) -> Callable[..., int]:
    """--name and --run-dir, as `run_dir`; and every failure of a lab as one line."""

    @click.option(
        "--name",
        envvar="PODGATE_LAB_NAME",
        show_envvar=True,
        default=DEFAULT_NAME,
        show_default=True,
        help="Which lab: there may be several.",
    )
    @click.option("--run-dir", type=PATH, help="Where its files are. [/run/podgate-lab/NAME]")
    @functools.wraps(function)
    def wrapped(*arguments: Any, name: str, run_dir: Path | None, **rest: Any) -> int:
        if not LAB_NAME.fullmatch(name):
            raise CommandError(f"--name {plain(name)!r}: up to 20 of a-z and 0-9")
        place = RunDir((run_dir or labs_folder() / name).absolute())
        try:
            return function(*arguments, name=name, run_dir=place, **rest)
        except _FAILURES as error:
            raise CommandError(str(error)) from error

    return wrapped


def become_root(lab: str) -> None:
    """Go on as root: where this user is not, among the processes of a lab of this user's own.

    Raises UnprivilegedError where there is none.
    """
    os.environ["PATH"] = PATH_OF_TOOLS
    if not is_root():
        join(lab, own_command())


def own_command() -> list[str]:
    """What this process was started with."""
    return [sys.executable, *sys.orig_argv[1:]]


def in_lab(run_dir: RunDir, work: Callable[[Lab], Coroutine[Any, Any, int]]) -> int:
    """Do something with a running lab."""

    async def inside() -> int:
        async with Lab.attached(run_dir) as lab:
            return await work(lab)

    return asyncio.run(inside())

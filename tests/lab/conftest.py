"""One lab for each CNI style and backend; each test has namespaces of its own in it."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import count, product

import pytest

from controller.dataplane.tools import Backend
from controller.lab.bringup import take_down
from controller.lab.lab import Lab, new_settings
from controller.lab.rundir import RunDir, labs_folder
from controller.lab.wiring import Cni
from tests.kernel.requirements import missing
from tests.lab.world import World

_numbers = count(1)


@contextmanager
def started(cni: Cni, backend: Backend, *, with_podgate: bool) -> Iterator[RunDir]:
    """The run directory of a lab of three nodes, dual stack."""
    lacking = missing(backend, cni)
    if lacking:
        pytest.skip(lacking)
    name = f"t{os.getpid()}x{next(_numbers)}"
    settings = new_settings(
        name, cni=cni, dual_stack=True, backend=backend, with_podgate=with_podgate, owned=True
    )
    found = RunDir(labs_folder() / name)

    async def start() -> None:
        async with Lab.started(found, settings, 3):
            pass

    try:
        asyncio.run(start())
        yield found
    finally:
        take_down(name, found)


@pytest.fixture(scope="module", params=product(Cni, Backend), ids="-".join)
def run_dir(request: pytest.FixtureRequest) -> Iterator[RunDir]:
    """A lab without podgate: no rules but those of Services."""
    with started(*request.param, with_podgate=False) as found:
        yield found


@pytest.fixture
async def world(run_dir: RunDir) -> AsyncIterator[World]:
    """A namespace of the lab, for one test."""
    async with Lab.attached(run_dir) as lab:
        world = World(lab, f"n{next(_numbers)}")
        await world.open()
        yield world
        await world.close()


needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")

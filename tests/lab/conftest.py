"""One lab for each CNI style and backend; each test has namespaces of its own in it."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
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


@pytest.fixture(scope="session", params=product(Cni, Backend), ids="-".join)
def run_dir(request: pytest.FixtureRequest) -> Iterator[RunDir]:
    """The run directory of a lab of three nodes, dual stack, without podgate."""
    cni, backend = request.param
    lacking = missing(backend, cni)
    if lacking:
        pytest.skip(lacking)
    name = f"t{os.getpid()}{cni}{backend}"
    settings = new_settings(name, cni=cni, dual_stack=True, backend=backend, with_podgate=False, owned=True)
    found = RunDir(labs_folder() / name)

    async def start() -> None:
        async with Lab.started(found, settings, 3):
            pass

    try:
        asyncio.run(start())
        yield found
    finally:
        take_down(name, found)


@pytest.fixture
async def world(run_dir: RunDir) -> AsyncIterator[World]:
    """A namespace of the lab, for one test."""
    async with Lab.attached(run_dir) as lab:
        world = World(lab, f"n{next(_numbers)}")
        await world.open()
        yield world
        await world.close()


needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")

"""One lab with podgate on it for each backend, for all tests of the whole system."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from itertools import count

import msgspec
import pytest

from controller.dataplane.tools import Backend
from controller.lab.addressing import NodePlace
from controller.lab.bringup import take_down
from controller.lab.lab import Lab, new_settings, planned
from controller.lab.rundir import RunDir, labs_folder
from controller.lab.wiring import Cni
from tests.conformance.layouts import in_family
from tests.e2e.system.kernels import Kernels
from tests.e2e.system.shop import Shop
from tests.e2e.system.shop import shop as opened_shop
from tests.e2e.system.system import System
from tests.kernel.requirements import missing

FAMILIES = (4, 6)

_numbers = count(1)


def started(backend: Backend) -> Iterator[Kernels]:
    """The readers of a lab of three nodes, dual stack, while this lasts; skips where it cannot be."""
    lacking = missing(backend, Cni.PTP)
    if lacking:
        pytest.skip(lacking)
    name = f"e{os.getpid()}{backend}"
    settings = new_settings(
        name, cni=Cni.PTP, dual_stack=True, backend=backend, with_podgate=True, owned=True
    )
    run_dir = RunDir(labs_folder() / name)
    kernels = Kernels(run_dir)

    async def start() -> None:
        async with Lab.started(run_dir, settings, [*map(_as_suites_have_it, planned(3, FAMILIES))]):
            pass

    try:
        asyncio.run(start())
        yield kernels
    finally:
        kernels.close()
        take_down(name, run_dir)


def _as_suites_have_it(place: NodePlace) -> NodePlace:
    """Its IPv6 addresses are images of its IPv4 addresses, so that both families can be judged alike."""
    blocks = {family: in_family(place.pod_blocks[4], family) for family in FAMILIES}
    return msgspec.structs.replace(place, pod_blocks=blocks)


@pytest.fixture(scope="session")
def nft_kernels() -> Iterator[Kernels]:
    yield from started(Backend.NFT)


@pytest.fixture(scope="session")
def legacy_kernels() -> Iterator[Kernels]:
    yield from started(Backend.LEGACY)


@pytest.fixture
async def system(nft_kernels: Kernels) -> AsyncIterator[System]:
    """The lab, on nft."""
    async for found in attached(nft_kernels):
        yield found


@pytest.fixture
async def legacy_system(legacy_kernels: Kernels) -> AsyncIterator[System]:
    """The lab on legacy iptables."""
    async for found in attached(legacy_kernels):
        yield found


async def attached(kernels: Kernels) -> AsyncIterator[System]:
    """A lab for one test, after which none of its processes may have met a bug."""
    async with Lab.attached(kernels.run_dir) as lab:
        found = System(lab, kernels)
        yield found
        assert found.broken() == []


@pytest.fixture
async def debug(system: System) -> None:
    """The lab's own API server, which can be told to fail; skips where it is another."""
    if not await system.debug.is_there():
        pytest.skip("a real kube-apiserver fails at nobody's request")


@pytest.fixture
async def shop(system: System) -> AsyncIterator[Shop]:
    """A server, a client who may reach it and an intruder who may not."""
    async with opened_shop(system, f"shop-{next(_numbers)}") as found:
        yield found

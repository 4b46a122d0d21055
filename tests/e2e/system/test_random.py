"""A thousand random changes, and then everything as if it had been computed from nothing, on every node.

`in_step` reads the objects of the API server, resolves them from scratch, and compares NodePolicies, slices,
what agents report, and each rule and set entry of each kernel. Packets are the last judge.
"""

import os

import pytest

from tests.e2e.system.changes import Changes
from tests.e2e.system.conftest import FAMILIES
from tests.e2e.system.shop import Shop
from tests.e2e.system.system import System

pytestmark = pytest.mark.kernel

CHANGES = int(os.environ.get("PODGATE_E2E_CHANGES", "150"))
"""1000 with `make soak`."""
SEED = os.environ.get("PODGATE_E2E_SEED", "1")
LOOKS = 5
"""How often everything is compared on the way."""


async def test_random_changes_end_where_a_computation_from_scratch_does(system: System, shop: Shop) -> None:
    changes = Changes(system, f"random/{SEED}", pods=12)
    await changes.begin()
    wrong = []
    async with shop.vigil() as vigil:
        for _ in range(LOOKS):
            for _ in range(CHANGES // LOOKS):
                await changes.one()
            await system.settled()
            for family in FAMILIES:
                wrong += await system.lab.disagreements(family, patience=0.1)
    await changes.end()
    await system.in_step()

    vigil.verdict()
    assert wrong == [], "\n".join(map(str, wrong[:20]))

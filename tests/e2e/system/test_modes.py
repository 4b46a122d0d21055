"""Audit mode through the whole system: an annotation opens and closes, and nothing else of it changes."""

from collections.abc import Mapping
from typing import Any

import pytest

from controller.kube.resource import NAMESPACES, NETWORK_POLICIES
from controller.objects.kinds import Protocol
from controller.objects.mode import ANNOTATION
from tests.e2e.system.conftest import FAMILIES
from tests.e2e.system.packets import Question
from tests.e2e.system.shop import Shop
from tests.e2e.system.system import System

pytestmark = pytest.mark.kernel


def intrusion(shop: Shop, *, allowed: bool) -> list[Question]:
    """The client always gets through, the intruder only where nothing is enforced."""
    server = f"{shop.name}/server"
    return [
        Question(f"{shop.name}/{name}", server, Protocol.TCP, 80, passes, family)
        for name, passes in (("client", True), ("intruder", allowed))
        for family in FAMILIES
    ]


async def annotate(shop: Shop, mode: str | None, *, on_namespace: bool = False) -> None:
    """Set the annotation, or remove it."""
    change: Mapping[str, Any] = {"metadata": {"annotations": {ANNOTATION: mode}}}
    if on_namespace:
        await shop.system.client.patch(NAMESPACES, shop.name, change, dict[str, Any])
    else:
        client = shop.system.client
        await client.patch(NETWORK_POLICIES, "isolated", change, dict[str, Any], namespace=shop.name)
    await shop.system.in_step()


@pytest.mark.parametrize("on_namespace", [False, True], ids=["policy", "namespace"])
async def test_the_annotation_opens_what_is_isolated_and_its_removal_closes_it(
    system: System, shop: Shop, *, on_namespace: bool
) -> None:
    seen = [await system.wrong(intrusion(shop, allowed=False))]
    for mode, allowed in (("audit", True), (None, False), ("audit", True), ("Audit", False)):
        await annotate(shop, mode, on_namespace=on_namespace)
        seen.append(await system.wrong(intrusion(shop, allowed=allowed)))

    assert seen == [[]] * 5

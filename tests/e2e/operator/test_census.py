"""The census against what kopf delivers late."""

import time

import pytest
from msgspec.structs import replace

from controller.kube.resource import NETWORK_POLICIES
from controller.operator.census import Census, HistoryLostError
from controller.operator.intake import Intake, Received, Source, arrival_of
from controller.operator.metrics import Metrics
from tests.e2e.operator.world import Object, World, admits, policy


async def test_an_old_version_that_comes_late_is_not_taken_for_the_newest(
    shop: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was heard of after the list began, and is older than the list: the newest is still to come."""
    monkeypatch.setattr("controller.operator.census._PATIENCE", 0.1)
    intake = Intake(lambda *_: None)
    old = await shop.client.get(NETWORK_POLICIES, "web", Object, namespace="shop")
    await shop.put(policy("shop/web", admits("web")))
    late = Received(time.time(), time.monotonic() + 60)
    arrival = arrival_of(
        Source.NETWORK_POLICIES, {**old, "apiVersion": "networking.k8s.io/v1"}, late, gone=False
    )
    assert arrival is not None
    intake.take(replace(arrival, received=late))

    await Census(shop.client, intake, Metrics()).take()

    found = intake.resolver.policy(("shop", "web"))
    assert found is not None
    assert found.ingress == ()


async def test_a_server_restored_from_a_backup_ends_the_process(
    shop: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions run backwards then, and whatever it says would be taken for old news for ever."""
    monkeypatch.setattr("controller.operator.census._PATIENCE", 0.1)
    intake = Intake(lambda *_: None)
    now = await shop.client.get(NETWORK_POLICIES, "web", Object, namespace="shop")
    lost = {
        **now,
        "metadata": {**now["metadata"], "resourceVersion": f"9{now['metadata']['resourceVersion']}"},
    }
    arrival = arrival_of(Source.NETWORK_POLICIES, lost, Received.now(), gone=False)
    assert arrival is not None
    intake.take(arrival)

    with pytest.raises(HistoryLostError, match="restored from a backup"):
        await Census(shop.client, intake, Metrics()).take()

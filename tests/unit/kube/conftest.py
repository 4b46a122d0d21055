"""What the tests of the API client share."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.kube.scripted import ScriptedServer, scripted_server


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with scripted_server() as running:
        yield running

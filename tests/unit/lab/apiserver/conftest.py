"""A server of its own for each test, and a client that talks to it."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from controller.lab.apiserver import ApiServer
from tests.unit.lab.apiserver.talk import Talk


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer() as running:
        yield running


@pytest.fixture
async def talk(server: ApiServer) -> AsyncIterator[Talk]:
    async with ClientSession(server.url) as session:
        yield Talk(session)

"""The file on disk follows: at once for rules, at its pace for members, and whole at the end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from controller.agent.cache_writer import CacheWriter
from controller.agent.last_good import LastGood
from controller.agent.subscription import Snapshot
from tests.unit.agent.published import MORE_POLICIES, SHOP, group, policy

LONG = 1000.0


def snapshot(*members: str) -> Snapshot:
    return Snapshot(policy(SHOP).spec, {group(SHOP): frozenset(members)})


OTHER_RULES = Snapshot(policy(MORE_POLICIES).spec, {})


@asynccontextmanager
async def writing(folder: Path, spacing: float) -> AsyncIterator[tuple[CacheWriter, LastGood]]:
    file = LastGood(folder, "node-1")
    writer = CacheWriter(file, spacing)
    task = asyncio.create_task(writer.run())
    try:
        yield writer, file
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until_saved(file: LastGood, wanted: Snapshot) -> None:
    async with asyncio.timeout(10):
        while file.load() != wanted:  # noqa: ASYNC110 - a disk tells nobody
            await asyncio.sleep(0.005)


async def test_the_first_state_is_written_at_once(tmp_path: Path) -> None:
    async with writing(tmp_path, LONG) as (writer, file):
        writer.keep(snapshot("10.0.0.1"), is_new=True)

        await until_saved(file, snapshot("10.0.0.1"))


async def test_other_members_wait_and_the_newest_are_written(tmp_path: Path) -> None:
    async with writing(tmp_path, 0.2) as (writer, file):
        writer.keep(snapshot("10.0.0.1"), is_new=True)
        await until_saved(file, snapshot("10.0.0.1"))
        writer.keep(snapshot("10.0.0.2"), is_new=False)
        writer.keep(snapshot("10.0.0.3"), is_new=False)
        at_once = file.load()

        await until_saved(file, snapshot("10.0.0.3"))

    assert at_once == snapshot("10.0.0.1")


async def test_other_rules_do_not_wait(tmp_path: Path) -> None:
    async with writing(tmp_path, LONG) as (writer, file):
        writer.keep(snapshot("10.0.0.1"), is_new=True)
        await until_saved(file, snapshot("10.0.0.1"))
        writer.keep(snapshot("10.0.0.2"), is_new=False)

        writer.keep(OTHER_RULES, is_new=True)

        await until_saved(file, OTHER_RULES)


async def test_what_waits_is_written_at_the_end(tmp_path: Path) -> None:
    async with writing(tmp_path, LONG) as (writer, file):
        writer.keep(snapshot("10.0.0.1"), is_new=True)
        await until_saved(file, snapshot("10.0.0.1"))
        writer.keep(snapshot("10.0.0.2"), is_new=False)

    writer.flush()

    assert file.load() == snapshot("10.0.0.2")


async def test_a_disk_that_takes_nothing_is_told_once_and_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "state"
    folder.write_text("a file where the folder should be")
    writer = CacheWriter(LastGood(folder, "node-1"))
    for address in ("10.0.0.1", "10.0.0.2"):
        writer.keep(snapshot(address), is_new=True)
        writer.flush()
    folder.unlink()

    writer.keep(snapshot("10.0.0.3"), is_new=True)
    writer.flush()

    assert capsys.readouterr().out.count("cannot be written") == 1
    assert LastGood(folder, "node-1").load() == snapshot("10.0.0.3")

"""The file an agent goes on from: what was saved, whole, or a refusal."""

import json
from pathlib import Path

import pytest

from controller.agent.last_good import LastGood, LastGoodError
from controller.agent.subscription import Snapshot
from controller.objects.kinds import Protocol
from tests.unit.agent.published import SHOP, group, policy

SNAPSHOT = Snapshot(
    policy(SHOP).spec,
    {group(SHOP): frozenset({"10.0.0.4", "fd00::4"}), "ports": frozenset({("10.0.0.3", Protocol.TCP, 80)})},
)


def saved(folder: Path, node: str = "node-1") -> LastGood:
    found = LastGood(folder, node)
    found.save(SNAPSHOT)
    return found


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    assert saved(tmp_path).load() == SNAPSHOT


def test_nothing_is_there_at_first(tmp_path: Path) -> None:
    assert LastGood(tmp_path / "missing", "node-1").load() is None


def test_the_folder_is_made_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    file = saved(tmp_path / "var" / "podgate")

    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.path.parent.stat().st_mode & 0o777 == 0o700


def test_only_one_file_stays(tmp_path: Path) -> None:
    file = saved(tmp_path)

    file.save(SNAPSHOT)

    assert [*tmp_path.iterdir()] == [file.path]


def test_a_write_that_was_cut_short_leaves_the_file_before(tmp_path: Path) -> None:
    file = saved(tmp_path)
    file.path.with_suffix(".new").write_bytes(b"half of it")

    found = file.load()
    file.save(SNAPSHOT)

    assert found == SNAPSHOT
    assert file.load() == SNAPSHOT


def test_one_of_another_node_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, "node-2")

    with pytest.raises(LastGoodError, match="is of node 'node-2', and this is 'node-1'"):
        LastGood(tmp_path, "node-1").load()


@pytest.mark.parametrize("length", [0, 1, 20, 100, -1])
def test_one_that_was_cut_short_is_refused(tmp_path: Path, length: int) -> None:
    file = saved(tmp_path)
    file.path.write_bytes(file.path.read_bytes()[:length])

    with pytest.raises(LastGoodError):
        file.load()


def test_one_that_was_edited_is_refused(tmp_path: Path) -> None:
    file = saved(tmp_path)
    file.path.write_bytes(file.path.read_bytes().replace(b"10.0.0.4", b"10.0.0.5"))

    with pytest.raises(LastGoodError, match="does not fit its checksum"):
        file.load()


def test_one_of_a_later_format_is_refused(tmp_path: Path) -> None:
    file = saved(tmp_path)
    head, _, content = file.path.read_bytes().partition(b"\n")
    file.path.write_bytes(json.dumps({**json.loads(head), "format": 2}).encode() + b"\n" + content)

    with pytest.raises(LastGoodError, match="has format 2, and this version knows 1"):
        file.load()


def test_a_folder_that_cannot_be_written_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")

    with pytest.raises(LastGoodError, match="cannot be written"):
        LastGood(tmp_path / "state", "node-1").save(SNAPSHOT)

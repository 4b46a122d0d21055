"""After an uninstallation nothing of what was enforced last is left for a later agent to begin with."""

from pathlib import Path

import pytest

from controller.agent.last_good import FILE_NAME, LastGood, LastGoodError, discard
from controller.agent.subscription import Snapshot
from controller.objects.resources import NodePolicySpec


def test_what_was_kept_is_gone(tmp_path: Path) -> None:
    kept = LastGood(tmp_path, "node-1")
    kept.save(Snapshot(NodePolicySpec("digest"), {}))
    (tmp_path / "last-good.new").write_text("half of one")

    discard(tmp_path)

    assert list(tmp_path.iterdir()) == []
    assert kept.load() is None


def test_files_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("")

    discard(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["other"]


@pytest.mark.parametrize("folder", ["nothing", "."])
def test_where_nothing_was_kept_nothing_happens(tmp_path: Path, folder: str) -> None:
    discard(tmp_path / folder)


def test_what_cannot_be_removed_is_said(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()

    with pytest.raises(LastGoodError, match="cannot be removed"):
        discard(tmp_path)

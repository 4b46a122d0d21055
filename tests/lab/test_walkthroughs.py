"""A stranger who types what the documents say, in order, sees what they show."""

import os
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from controller.dataplane.tools import Backend
from controller.lab.bringup import take_down
from controller.lab.rundir import RunDir
from controller.lab.wiring import Cni
from tests.kernel.requirements import missing
from tests.lab.walkthrough import ROOT, steps, walk

START = ROOT / "docs" / "getting-started.md"
AUDIT = ROOT / "docs" / "audit.md"
TROUBLE = ROOT / "docs" / "troubleshooting.md"

needs_a_lab = pytest.mark.skipif(bool(missing(Backend.NFT, Cni.PTP)), reason=missing(Backend.NFT, Cni.PTP))
needs_tools = pytest.mark.skipif(
    not all(map(shutil.which, ("kubectl", "conntrack", "curl"))), reason="needs kubectl, conntrack and curl"
)
_numbers = count(1)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """The name of a lab that a document starts, and whatever of it is left ends with the test."""
    name = f"w{os.getpid()}x{next(_numbers)}"
    yield name
    take_down(name, RunDir(tmp_path / name))


def test_the_part_about_files_works_as_written(tmp_path: Path) -> None:
    found = list(steps(START, ["1."]))

    assert len(found) > 4
    assert walk(found, "none", tmp_path) == []


@pytest.mark.kernel
@needs_a_lab
def test_the_part_about_the_lab_works_as_written(lab: str, tmp_path: Path) -> None:
    found = list(steps(START, ["2."]))

    assert len(found) > 8
    assert walk(found, lab, tmp_path) == []


@pytest.mark.kernel
@needs_a_lab
@needs_tools
def test_what_to_do_about_a_connection_that_hangs_works_as_written(lab: str, tmp_path: Path) -> None:
    found = list(steps(TROUBLE, ["A lab to try", "Step"]))

    assert len(found) > 10
    assert walk(found, lab, tmp_path) == []


def test_what_the_documents_begin_with_is_what_made_this_environment() -> None:
    (setup, *_) = (line for line in START.read_text().splitlines() if line.startswith("$ "))

    assert f"@{setup.removeprefix('$ ')}\n" in (ROOT / "Makefile").read_text()
    assert (ROOT / "hack" / "setup").stat().st_mode & 0o111


def test_a_walk_says_which_command_failed_and_what_it_printed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("## 1. a\n```console\n$ echo one\ntwo\n$ echo in 1.5 s\nin 3 s\n$ false\n```\n## 2. b\n")

    found = walk(list(steps(page, ["1."])), "none", tmp_path)

    assert found == ["$ echo one\nexit 0\none\n", "$ false\nexit 1\n"]


@pytest.mark.kernel
@needs_a_lab
@needs_tools
def test_a_namespace_on_trial_works_as_written(lab: str, tmp_path: Path) -> None:
    found = list(steps(AUDIT, ["A namespace on trial"]))

    assert len(found) > 8
    assert walk(found, lab, tmp_path) == []

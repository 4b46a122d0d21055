"""The pages that are made from the code say what the code says."""

import subprocess
import sys
from pathlib import Path

import pytest

from hack.docs import cli_reference, metrics_reference, resources_reference

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("generator", ["cli_reference", "metrics_reference", "resources_reference"])
def test_a_page_is_what_its_generator_writes(generator: str) -> None:
    """In a process of its own: click remembers how the help of a command was asked for the first time."""
    command = [sys.executable, str(ROOT / "hack" / "docs" / f"{generator}.py"), "--check"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own script

    assert done.returncode == 0, f"run make docs: {done.stdout}{done.stderr}"


def test_the_page_of_the_command_has_every_verb_of_the_lab_too() -> None:
    text = cli_reference.page()

    assert {"## podgate explain", "## podgate lab probe"} <= set(text.splitlines())


def test_a_metric_is_shown_with_its_labels() -> None:
    assert "| `podgate_agent_apply_errors_total` | counter | `family` `reason` |" in metrics_reference.page()


def test_a_field_is_shown_with_its_type() -> None:
    assert "| `addresses` | list of string, at most 100 |  |" in resources_reference.page()

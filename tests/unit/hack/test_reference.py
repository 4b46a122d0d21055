"""The pages that are made from the code say what the code says."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hack.docs import cli_reference, metrics_reference, resources_reference

PAGES = {each.PAGE: each.page for each in (cli_reference, metrics_reference, resources_reference)}


@pytest.mark.parametrize(("path", "page"), PAGES.items(), ids=lambda each: getattr(each, "name", ""))
def test_a_page_is_what_its_generator_writes(path: Path, page: Callable[[], str]) -> None:
    assert path.read_text() == page(), "run make docs"


def test_the_page_of_the_command_has_every_verb_of_the_lab_too() -> None:
    text = cli_reference.page()

    assert {"## podgate explain", "## podgate lab probe"} <= set(text.splitlines())


def test_a_metric_is_shown_with_its_labels() -> None:
    assert "| `podgate_agent_apply_errors_total` | counter | `family` `reason` |" in metrics_reference.page()


def test_a_field_is_shown_with_its_type() -> None:
    assert "| `addresses` | list of string, at most 100 |  |" in resources_reference.page()

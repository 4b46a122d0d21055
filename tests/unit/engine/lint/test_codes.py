"""The codes of the checks are complete, explained and documented."""

import re
from pathlib import Path

import pytest

from controller.engine import lint
from controller.engine.lint.codes import CODES, GROUPS, SEVERITIES
from controller.objects.codes import CODES as READER_CODES
from controller.objects.codes import Explanation
from hack.docs.lint_codes import PAGE, page

SOURCES = sorted(Path(lint.__path__[0]).glob("*.py"))
TESTS = sorted(Path(__file__).parent.glob("test_*.py"))
OWN = {code: explanation for group in GROUPS.values() for code, explanation in group.items()}


def test_no_code_means_two_things() -> None:
    assert not OWN.keys() & READER_CODES.keys()
    assert len(OWN) == sum(map(len, GROUPS.values()))
    assert CODES.keys() == OWN.keys() | READER_CODES.keys()


@pytest.mark.parametrize("code", OWN)
def test_every_code_is_in_use_and_tested(code: str) -> None:
    assert any(f'"{code}"' in file.read_text() for file in SOURCES if file.name != "codes.py")
    assert any(f'"{code}"' in file.read_text() for file in TESTS)


@pytest.mark.parametrize(("code", "explanation"), OWN.items())
def test_an_explanation_has_a_title_a_meaning_and_a_remedy(code: str, explanation: Explanation) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code)
    assert code in SEVERITIES
    assert not explanation.title.endswith(".")
    assert explanation.meaning.endswith(".")
    assert explanation.remedy.endswith(".")


def test_the_page_of_all_codes_is_not_stale() -> None:
    assert PAGE.read_text() == page(), "run hack/docs/lint_codes.py"

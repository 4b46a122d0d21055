"""The list of codes is complete and says something."""

import re
from pathlib import Path

import pytest

from controller import objects
from controller.objects.codes import CODES, UNREADABLE, Explanation

SOURCES = sorted(Path(objects.__path__[0]).glob("*.py"))
CODE = re.compile(
    r"""(?:\.(?:error|warning|info)\(\s*|code=|MalformedError\(\s*|_refuse\(\s*)"([a-z][a-z0-9]*(?:-[a-z0-9]+)+)\""""
)


def test_every_code_in_use_is_explained() -> None:
    used = {code for file in SOURCES for code in CODE.findall(file.read_text())}
    assert len(used) > 25
    assert used <= CODES.keys()


def test_every_code_is_in_use() -> None:
    text = "".join(file.read_text() for file in SOURCES if file.name != "codes.py")
    assert [code for code in CODES if f'"{code}"' not in text] == []


def test_codes_after_which_nothing_is_certain_exist() -> None:
    assert CODES.keys() >= UNREADABLE


@pytest.mark.parametrize(("code", "explanation"), CODES.items())
def test_an_explanation_has_a_title_a_meaning_and_a_remedy(code: str, explanation: Explanation) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)
    assert not explanation.title.endswith(".")
    assert explanation.meaning.endswith(".")
    assert explanation.remedy.endswith(".")

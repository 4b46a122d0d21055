import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog

from controller.telemetry.logs import Format, Level, configure, logger


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(level: Level, form: Format) -> io.StringIO:
    out = io.StringIO()
    configure(level, form, out)
    return out


def test_a_line_is_json_where_nobody_watches() -> None:
    out = lines(Level.INFO, Format.AUTO)

    logger("operator.writer").info("policy applied", policy="shop/web", pods=3)

    line = json.loads(out.getvalue())
    assert list(line)[:4] == ["ts", "level", "logger", "msg"]
    assert line | {"ts": ""} == {
        "ts": "",
        "level": "info",
        "logger": "operator.writer",
        "msg": "policy applied",
        "policy": "shop/web",
        "pods": 3,
    }


def test_a_line_of_a_library_has_the_same_keys() -> None:
    out = lines(Level.INFO, Format.JSON)

    logging.getLogger("some.library").info("connected to %s", "x")

    line = json.loads(out.getvalue())
    assert (line["level"], line["logger"], line["msg"]) == (
        "info",
        "some.library",
        "connected to x",
    )


def test_lines_below_the_level_are_not_written() -> None:
    out = lines(Level.WARNING, Format.TEXT)

    logger("operator").info("synced")
    logging.getLogger("kopf.objects").info("handler succeeded")

    assert not out.getvalue()


def test_text_of_others_cannot_move_the_cursor() -> None:
    out = lines(Level.INFO, Format.TEXT)

    logger("operator").warning("object is wrong", err="\x1b[2J bad\nlevel=error msg=forged")

    assert "\x1b" not in out.getvalue()
    assert out.getvalue().count("\n") == 1


def test_a_bug_is_written_with_its_traceback() -> None:
    out = lines(Level.INFO, Format.JSON)

    try:
        _ = 1 // int("0")
    except ZeroDivisionError:
        logger("agent").exception("cannot apply", node="node-1")

    line = json.loads(out.getvalue())
    assert "ZeroDivisionError" in line["exception"]
    assert line["node"] == "node-1"


def test_the_logs_do_not_bring_rich_along() -> None:
    check = "import sys, controller.telemetry.logs; assert 'rich' not in sys.modules; import rich.console"

    subprocess.run([sys.executable, "-c", check], check=True)  # noqa: S603 - our own interpreter and text

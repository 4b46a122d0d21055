"""--log-drops: off, or a rate that every kernel keeps as it was said."""

import pytest

from controller.cli.failure import CommandError
from controller.cli.node_options import drop_log_of
from controller.cli.verify import _check_second_reader
from controller.dataplane.settings import DropLog
from controller.dataplane.tools import Backend


def test_a_rate_is_packets_a_second() -> None:
    assert [drop_log_of(text, 7) for text in ("off", "10/s", "100")] == [
        None,
        DropLog(10, 7),
        DropLog(100, 7),
    ]


@pytest.mark.parametrize("text", ["", "0/s", "101/s", "10/m", "-1/s", "on", "\u0661/s"])
def test_another_rate_is_refused_in_words(text: str) -> None:
    with pytest.raises(CommandError, match="write off, or 1/s to 100/s"):
        drop_log_of(text, 7)


def test_the_second_reader_is_not_led_to_rules_that_crash_it() -> None:
    with pytest.raises(CommandError, match="use --reader save"):
        _check_second_reader(Backend.LEGACY, "10/s")

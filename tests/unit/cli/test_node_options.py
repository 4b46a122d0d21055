"""Options of a node: rates of --log-drops, and variables for what an agent and commands beside it share."""

import json

import click
import pytest
from click.testing import CliRunner

from controller.cli.failure import CommandError
from controller.cli.node_options import drop_log_of, log_drops_options, place_options, policy_options
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


@click.command
@place_options
@policy_options
@log_drops_options
def shows(**options: object) -> None:
    click.echo(json.dumps(options))


def test_what_changes_the_rules_can_be_said_to_every_command_of_a_container_at_once() -> None:
    environment = {
        "PODGATE_BACKEND": "legacy",
        "PODGATE_UNKNOWN_PODS": "deny",
        "PODGATE_ALLOW_OWN_NODE_EGRESS": "true",
        "PODGATE_KEEP_ESTABLISHED": "true",
        "PODGATE_MARK_MASK": "0xff0000",
        "PODGATE_LOG_DROPS": "5/s",
        "PODGATE_LOG_DROPS_GROUP": "7",
    }

    options = json.loads(CliRunner().invoke(shows, env=environment).output)

    assert options == {
        "netns": None,
        "backend": "legacy",
        "unknown_pods": "deny",
        "allow_own_node_egress": True,
        "keep_established": True,
        "mark_mask": "0xff0000",
        "log_drops": "5/s",
        "log_drops_group": 7,
    }

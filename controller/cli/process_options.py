"""Options that every long-running verb has: what it logs, and where it says how it is."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


def log_options(function: Function) -> Function:
    """`--log-level` and `--log-format`, as texts of `telemetry.logs.Level` and `Format`."""
    level = click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="info",
        show_default=True,
        help="The least severe lines to write.",
    )
    form = click.option(
        "--log-format",
        type=click.Choice(["auto", "json", "text"]),
        default="auto",
        show_default=True,
        help="auto: text on a terminal, JSON elsewhere.",
    )
    return level(form(function))


def health_option(default: str) -> Callable[[Function], Function]:
    """`--health-address`, with the port of the verb."""
    return click.option(
        "--health-address",
        default=default,
        show_default=True,
        metavar="HOST:PORT",
        help="Where /livez, /readyz and /metrics are served. Port 0 takes a free one; "
        "[::] is every address of both families.",
    )

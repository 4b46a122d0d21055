"""What is behind standard output: a terminal that shows colour, a pipe, or nothing that takes the answer."""

import os
import sys
from typing import TextIO

import click


def wants_color(*, no_color: bool) -> bool:
    """Whether standard output is a terminal whose user did not ask for plain text (https://no-color.org)."""
    return sys.stdout.isatty() and not no_color and not os.environ.get("NO_COLOR")


def discard_output() -> None:
    """Send what is left in the buffers nowhere: the end of the process would fail on it once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not _is_writable(stream):
            os.dup2(nowhere, stream.fileno())


def _is_writable(stream: TextIO) -> bool:
    try:
        stream.flush()
    except OSError:
        return False
    return True


class Painter:
    """Styles text where colour is wanted and leaves it alone elsewhere."""

    def __init__(self, *, color: bool) -> None:
        self._color = color

    def good(self, text: str) -> str:
        """Allowed, added."""
        return self._style(text, "green")

    def bad(self, text: str) -> str:
        """Denied, removed, wrong."""
        return self._style(text, "red")

    def middling(self, text: str) -> str:
        """Neither all nor nothing."""
        return self._style(text, "yellow")

    def faint(self, text: str) -> str:
        """Places and other asides."""
        return click.style(text, dim=True) if self._color else text

    def strong(self, text: str) -> str:
        """Headings."""
        return click.style(text, bold=True) if self._color else text

    def _style(self, text: str, color: str) -> str:
        return click.style(text, fg=color, bold=True) if self._color else text

"""Colour for people: only on a terminal, never with NO_COLOR or --no-color."""

import os
import sys

import click


def wants_color(*, no_color: bool) -> bool:
    """Whether standard output is a terminal whose user did not ask for plain text (https://no-color.org)."""
    return sys.stdout.isatty() and not no_color and not os.environ.get("NO_COLOR")


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

    def faint(self, text: str) -> str:
        """Places and other asides."""
        return click.style(text, dim=True) if self._color else text

    def strong(self, text: str) -> str:
        """Headings."""
        return click.style(text, bold=True) if self._color else text

    def _style(self, text: str, color: str) -> str:
        return click.style(text, fg=color, bold=True) if self._color else text

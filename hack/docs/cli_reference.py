"""Writes docs/reference/cli.md: the help of every verb, as click prints it.

.venv/bin/python hack/docs/cli_reference.py            # write the page
.venv/bin/python hack/docs/cli_reference.py --check    # exit 1 if the page is stale
"""

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import click

from controller.cli.main import podgate
from hack.docs.generated import REFERENCE, deliver

PAGE = REFERENCE / "cli.md"
"""The page that is written."""

_WIDTH = 100
_INTRODUCTION = """\
# The command

<!-- Written by hack/docs/cli_reference.py, from the options themselves: make docs -->

What `--help` prints, of every verb. `kubectl podgate VERB` is the same as `podgate VERB`.
"""


def page() -> str:
    """The whole page."""
    commands = list(_commands(podgate, ("podgate",)))
    lines = [_INTRODUCTION]
    lines += [f"- [{name}](#{name.replace(' ', '-')})" for name, _ in commands]
    for name, text in commands:
        lines += ["", f"## {name}", "", "```text", text, "```"]
    return "\n".join(lines) + "\n"


def _commands(
    command: click.Command, words: tuple[str, ...], parent: click.Context | None = None
) -> Iterator[tuple[str, str]]:
    """(full name, help) of a command and of all below it."""
    context = click.Context(
        command, parent=parent, info_name=words[-1], terminal_width=_WIDTH, max_content_width=_WIDTH
    )
    context.help_option_names = ["-h", "--help"]
    text = command.get_help(context)
    yield " ".join(words), "\n".join(line.rstrip() for line in text.splitlines())
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is None:
                raise LookupError(f"{command.name} lists {name} and does not have it")
            yield from _commands(child, (*words, name), context)


if __name__ == "__main__":
    sys.exit(deliver(PAGE, page(), sys.argv[1:]))

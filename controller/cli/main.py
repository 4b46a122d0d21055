"""The `podgate` command: finds the verb, runs it, turns every failure into one readable line.

Verbs are imported when they are called: start-up time is part of every answer. Exit codes are the same for
all of them: 0 clean, 1 findings, denied or differences, 2 an error in the input or in the call.
"""

import contextlib
import errno
import importlib
import os
import sys
from typing import NoReturn

import click

from controller import __version__
from controller.cli.console import discard_output
from controller.cli.failure import ERROR, CommandError

_VERBS = {
    "render": "the iptables rules and sets of a node",
    "explain": "may A reach B, and which line of which policy says so",
    "matrix": "who may talk to whom",
    "diff": "which connections a change of policies adds and removes",
    "lint": "what is wrong with the policies",
    "apply": "programme this node from manifests",
    "verify": "does everything hold what the policies say, down to the kernel",
    "agent": "enforce on this node what the operator publishes",
    "cleanup": "remove podgate's rules from this node",
    "operator": "publish what every node of a cluster enforces",
    "status": "which policies are in force, and on how many nodes",
    "wait": "until policies are in force",
    "drops": "which packets are denied just now, and why",
    "lab": "a cluster made of network namespaces, to try policies with real packets",
    "completion": "shell completion",
}

_UNWRITABLE = frozenset({errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC})


class _Verbs(click.Group):
    """Imports `controller.cli.<verb>` on demand; each defines a click command named `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The verbs in the order a newcomer meets them."""
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one verb."""
        if cmd_name not in _VERBS:
            return None
        command: click.Command = importlib.import_module(f"controller.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list in `--help`, without importing any verb."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="podgate")
def podgate() -> None:
    """Kubernetes NetworkPolicy, compiled to iptables and explained.

    What says what policies mean works offline, on plain manifests:

    \b
      podgate explain shop/web shop/db --port 5432/TCP -f manifests/
      podgate matrix -f manifests/
      podgate render -f manifests/ --node node-1

    Exit codes: 0 clean, 1 findings, denied or differences, 2 error.
    """  # noqa: D301 - \b is click's mark for a block that must not be wrapped


def main() -> NoReturn:
    """Entry point of the console script."""
    if sys.stdout is None:  # `>&-`; the next file to be opened would take its place
        _fail("standard output is closed")
    try:
        status = podgate.main(prog_name=called_by(sys.argv[0]), standalone_mode=False)
    except CommandError as error:
        _fail(str(error))
    except click.ClickException as error:
        with contextlib.suppress(OSError):
            error.show()
        discard_output()
        sys.exit(ERROR)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted")
    except BrokenPipeError:  # the reader of a pipe has seen enough: `podgate render ... | head`
        discard_output()
        sys.exit(ERROR)
    except Exception as error:
        if os.environ.get("PODGATE_DEBUG"):
            raise
        _fail(_last_words(error))
    sys.exit(status or 0)


def called_by(program: str) -> str:
    """The name that usage lines show: that of the plugin where kubectl has started it."""
    return "kubectl podgate" if os.path.basename(program).startswith("kubectl-") else "podgate"  # noqa: PTH119


def _last_words(error: Exception) -> str:
    """What is said of an error that no verb expects: what stands behind standard output, or a bug."""
    while isinstance(error, ExceptionGroup):  # says nothing but how many there are
        error = error.exceptions[0]
    if isinstance(error, OSError) and error.filename is None and error.errno in _UNWRITABLE:
        return f"cannot write: {error.strerror}"
    return f"internal error: {type(error).__name__}: {error}; PODGATE_DEBUG=1 shows where, please report it"


def _fail(message: str) -> NoReturn:
    with contextlib.suppress(OSError):
        click.echo(f"podgate: {message}", err=True)
    discard_output()
    sys.exit(ERROR)

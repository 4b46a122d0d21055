"""`podgate completion`: the completion script of a shell; and what completes the plugin of kubectl."""

import sys

import click
from click.shell_completion import ShellComplete, get_completion_class

from controller.cli.failure import CommandError

_SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_PODGATE_COMPLETE"
_NO_FILES, _FILES = ":4", ":0"
"""Whether the shell offers files besides, as kubectl reads it (cobra's ShellCompDirective)."""


@click.command("completion")
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    `kubectl podgate` is completed by kubectl's own completion, without this.

    \b
    Examples:
      source <(podgate completion bash)
      podgate completion zsh > "${fpath[1]}/_podgate"
      podgate completion fish > ~/.config/fish/completions/podgate.fish
    """  # noqa: D301
    found = get_completion_class(shell)
    if found is None:
        raise CommandError(f"no completion for {shell}")
    click.echo(found(ctx.find_root().command, {}, "podgate", _VARIABLE).source())


def for_kubectl() -> None:
    """The program `kubectl_complete-podgate`, called with the words so far, the last one incomplete.

    Prints a word a line, with its help behind a tab, and last what else the shell should offer.
    """
    from controller.cli.main import podgate  # noqa: PLC0415 - that module imports the verbs, this one among them

    *words, incomplete = sys.argv[1:] or [""]
    found = ShellComplete(podgate, {}, "podgate", _VARIABLE).get_completions(words, incomplete)
    plain = [each for each in found if each.type == "plain"]
    for each in plain:
        click.echo(f"{each.value}\t{each.help}" if each.help else each.value)
    click.echo(_NO_FILES if plain and len(plain) == len(found) else _FILES)

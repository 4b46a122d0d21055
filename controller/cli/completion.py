"""`podgate completion`: prints the completion script of a shell."""

import click
from click.shell_completion import get_completion_class

from controller.cli.failure import CommandError

_SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Examples:
      source <(podgate completion bash)
      podgate completion zsh > "${fpath[1]}/_podgate"
      podgate completion fish > ~/.config/fish/completions/podgate.fish
    """  # noqa: D301
    found = get_completion_class(shell)
    if found is None:
        raise CommandError(f"no completion for {shell}")
    click.echo(found(ctx.find_root().command, {}, "podgate", "_PODGATE_COMPLETE").source())

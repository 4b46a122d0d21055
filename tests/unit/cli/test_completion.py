"""Completion: the scripts are ones that the shells read, and kubectl completes its plugin."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from controller.cli.main import called_by, podgate

PROGRAMS = Path(sys.executable).parent
"""Where `podgate`, `kubectl-podgate` and `kubectl_complete-podgate` are installed."""

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")


def run(*call: str, **environ: str) -> str:
    path = f"{PROGRAMS}:{os.environ['PATH']}"
    done = subprocess.run(  # noqa: S603
        call, env={**os.environ, "PATH": path, **environ}, capture_output=True, text=True, check=False
    )
    return done.stdout or done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_read_its_script(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    script = tmp_path / "script"
    script.write_text(run("podgate", "completion", shell))

    assert "_PODGATE_COMPLETE" in script.read_text()
    assert run(shell, "-n", str(script)) == ""


def test_bash_is_offered_the_verbs_that_begin_so() -> None:
    script = """
        source <(podgate completion bash)
        COMP_WORDS=(podgate ex) COMP_CWORD=1
        _podgate_completion podgate
        echo "${COMPREPLY[@]}"
    """

    assert run("bash", "-c", script) == "explain\n"


@needs_kubectl
def test_kubectl_finds_the_plugin_on_path() -> None:
    found = run("kubectl", "podgate", "explain", "--help")

    assert found.startswith("Usage: kubectl podgate explain [OPTIONS] SRC DST")


@needs_kubectl
def test_the_plugin_answers_as_the_command_does() -> None:
    shop = str(Path(__file__).parents[3] / "examples" / "shop")
    call = ["explain", "shop/cart", "data/redis", "--port", "5432/TCP", "-f", shop]

    assert run("kubectl", "podgate", *call) == run("podgate", *call)


@needs_kubectl
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["st"], ["status", ":4"]),
        (["lab", "ku"], ["kubeconfig", ":4"]),
        (["explain", "-o", ""], ["text", "json", ":4"]),
        (["explain", "-f", ""], [":0"]),
    ],
)
def test_kubectl_completes_the_plugin(words: list[str], offered: list[str]) -> None:
    lines = run("kubectl", "__complete", "podgate", *words).splitlines()

    assert [line.partition("\t")[0] for line in lines] == offered


def test_usage_lines_show_the_name_of_the_command_whatever_started_it() -> None:
    assert called_by("/usr/lib/python3/controller/cli/main.py") == "podgate"


def options(command: click.Command, path: str = "podgate") -> Iterator[tuple[str, click.Parameter]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from options(found, f"{path} {name}")
    yield from ((f"{path} {each.name}", each) for each in command.params)


def test_every_option_that_takes_a_file_or_a_folder_completes_their_names() -> None:
    taking = {
        name: each.type for name, each in options(podgate) if re.search(r"FILE|DIR|PATH", each.metavar or "")
    }

    assert len(taking) > 10
    assert {name for name, kind in taking.items() if not isinstance(kind, click.Path | click.File)} == set()

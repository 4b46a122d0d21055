"""The command as a process: what happens where its output cannot be written."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from controller.cli.apply import command as apply
from controller.cli.failure import CLEAN, ERROR
from controller.cli.verify import command as verify

PROGRAM = f'"{sys.executable}" -c "from controller.cli.main import main; main()"'
SHOP = Path(__file__).parents[3] / "examples" / "shop"


def shell(call: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S602 - redirections are what is tested
        call.replace("podgate", PROGRAM, 1), shell=True, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("verb", [f"matrix -f {SHOP}", f"render -f {SHOP} --node x", "--help", "--version"])
def test_a_closed_standard_output_is_an_error_of_one_line(verb: str) -> None:
    done = shell(f"podgate {verb} >&-")
    assert (done.returncode, done.stderr) == (ERROR, "podgate: standard output is closed\n")


@pytest.mark.parametrize("verb", [f"matrix -f {SHOP}", f"render -f {SHOP}", "--help", "completion bash"])
def test_a_full_disk_is_an_error_of_one_line(verb: str) -> None:
    done = shell(f"podgate {verb} >/dev/full")
    assert (done.returncode, done.stderr) == (ERROR, "podgate: cannot write: No space left on device\n")


def test_diagnostics_that_cannot_be_written_do_not_hide_the_exit_code() -> None:
    assert shell("podgate matrix -f /nowhere 2>/dev/full").returncode == ERROR
    assert shell("podgate matrix -f /nowhere 2>&-").returncode == ERROR
    assert shell(f"podgate matrix -f {SHOP} 2>&-").returncode == CLEAN


@pytest.mark.parametrize("verb", [apply, verify])
def test_backends_are_chosen_in_lower_case(verb: click.Command) -> None:
    assert "--backend [auto|nft|legacy]" in CliRunner().invoke(verb, ["--help"]).output


@pytest.mark.parametrize("name", ["no name", "a/b", "UPPER", "", "-x"])
def test_an_agent_of_a_node_that_cannot_be_is_refused(name: str) -> None:
    """It would wait for ever for a NodePolicy that can never be."""
    done = shell(f"podgate agent --node-name '{name}' --kubeconfig /nowhere")

    assert (done.returncode, done.stderr.count("\n")) == (ERROR, 1)
    assert "is no name of a node" in done.stderr


def test_an_agent_whose_credentials_cannot_be_read_says_so_in_one_line(tmp_path: Path) -> None:
    """Its parts run side by side: what ends one of them must not come out as a group of errors."""
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(
        "{apiVersion: v1, kind: Config, current-context: a, "
        "contexts: [{name: a, context: {cluster: c, user: u}}], "
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], "
        f"users: [{{name: u, user: {{tokenFile: {tmp_path}/none}}}}]}}"
    )
    options = f"--kubeconfig {kubeconfig} --health-address 127.0.0.1:0 --state-dir {tmp_path} --backend nft"

    done = shell(f"podgate agent --node-name node-1 --log-level error {options}")

    assert done.returncode == ERROR
    assert done.stderr.splitlines()[-1].startswith(f"podgate: token file {tmp_path}/none")

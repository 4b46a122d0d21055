"""Which way the image's check takes, and what CI says about it; stand-ins are other programs only."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
INSTALLED = "ipset|iptables|iproute2"


def stand_in(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


def script(path: Path, stand_ins: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - a script of this repository
        [path, *arguments],
        env={**os.environ, "PATH": f"{stand_ins}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="the image's check needs root")
@pytest.mark.parametrize("arguments", [(), ("--without-engine",)])
def test_it_ends_with_3_where_neither_an_engine_nor_debootstrap_can_be_had(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    stand_in(tmp_path, "dpkg-query", f'case ${{!#}} in {INSTALLED}) echo "install ok installed" ;; esac')
    stand_in(tmp_path, "apt-get", "exit 100")

    done = script(ROOT / "hack/image/check.sh", tmp_path, *arguments)

    assert done.returncode == 3, done.stderr
    assert done.stdout == ""
    assert "cannot install" in done.stderr
    assert "NOT BUILT, NOT RUN: neither an engine nor a chroot can be had" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="the image's check needs root")
def test_without_an_engine_there_is_no_other_architecture(tmp_path: Path) -> None:
    stand_in(tmp_path, "podman", 'echo "no storage" >&2; exit 125')
    stand_in(tmp_path, "dpkg-query", 'echo "install ok installed"')
    stand_in(tmp_path, "dpkg", "echo amd64")

    done = script(ROOT / "hack/image/check.sh", tmp_path, "--arch", "arm64")

    assert done.returncode == 3, done.stderr
    assert "podman does not start: no storage" in done.stderr
    assert "no --arch, no BASE" in done.stderr


def test_both_ways_have_the_same_functions() -> None:
    podman, chroot = (
        {line for line in (ROOT / f"hack/image/{name}.sh").read_text().splitlines() if line.endswith("() {")}
        for name in ("podman", "chroot")
    )

    assert podman - chroot == {"engine() {", "import_base() {"}
    assert chroot <= podman


@pytest.mark.parametrize(
    ("code", "way", "said", "ends_with"),
    [
        (0, "built with podman", "ci: the image was built with podman", 0),
        (
            0,
            "NOT built by an engine: in a chroot",
            "ci: the image was NOT built by an engine: in a chroot",
            0,
        ),
        (3, "", "ci: the image was NOT built and not run", 0),
        (1, "", "ci: the image's check FAILED", 1),
    ],
)
def test_ci_says_which_way_it_was_and_runs_the_tests_whatever_it_was(
    tmp_path: Path, code: int, way: str, said: str, ends_with: int
) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")
    stand_in(tmp_path / "hack/image", "check.sh", f"printf '{way}'; exit {code}")
    stand_in(tmp_path / "bin", "make", 'echo "made $*"')

    done = script(tmp_path / ".ci/run", tmp_path / "bin")

    assert done.returncode == ends_with
    first, last = done.stdout.splitlines()
    assert first.startswith(said)
    assert last == "made test"

"""What of the image can be known without building it; `make image-check` builds and runs it."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
DOCKERFILE = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
STEPS = [line.split(maxsplit=1) for line in DOCKERFILE.splitlines() if line.strip()]
LOCK = tomllib.loads((ROOT / "uv.lock").read_text())
UV = Path(sys.executable).with_name("uv")


def steps(word: str) -> list[str]:
    return [rest for instruction, rest in STEPS if instruction == word]


def test_what_is_copied_is_there_and_not_ignored() -> None:
    allowed = [
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    sources = [word for rest in steps("COPY") if "--from" not in rest for word in rest.split()[:-1]]

    assert sorted(sources) == sorted(allowed)
    assert all((ROOT / source).exists() for source in sources)


def test_it_starts_the_command_without_a_shell_and_not_as_root() -> None:
    (entry,) = steps("ENTRYPOINT")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    init, end_of_options, program = json.loads(entry)
    assert (init, end_of_options) == ("/usr/bin/tini", "--")
    assert program.startswith("/opt/podgate/bin/")
    assert Path(program).name in project["scripts"]
    assert steps("USER") == ["65532:65532"]
    assert steps("STOPSIGNAL") == ["SIGTERM"]


def test_both_stages_stand_on_the_same_base_and_the_image_on_none() -> None:
    assert [each.split()[0] for each in steps("FROM")] == ["${BASE}", "${BASE}", "scratch"]


def test_every_package_is_of_the_lock_and_by_hash() -> None:
    installs = re.findall(r"pip install (.*?)(?:&&|$)", " ".join(steps("RUN")))

    for options in installs:
        assert "--require-hashes" in options or "--no-deps --offline" in options
        assert "--only-binary :all:" in options or "/build/dist/" in options


def locked(options: str) -> dict[str, str]:
    """The packages and versions of an export of the Dockerfile."""
    done = subprocess.run(  # noqa: S603
        [UV, *shlex.split(options), "--no-hashes", "--no-annotate", "--no-header"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (line.partition(";")[0].strip() for line in done.stdout.splitlines())
    return dict(line.split("==") for line in lines if "==" in line)


def python_tag() -> str:
    """`cp313` of python:3.13-slim."""
    version = re.search(r"python:(\d+)\.(\d+)-slim", DOCKERFILE)
    assert version is not None
    return f"cp{version[1]}{version[2]}"


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.skipif(not UV.exists(), reason="needs uv")
def test_there_is_a_wheel_of_everything_for_a_machine(machine: str) -> None:
    packages: dict[str, dict[str, Any]] = {each["name"]: each for each in LOCK["package"]}
    exports = re.findall(r"/build/bin/uv (export .*?) --output-file", " ".join(steps("RUN")))
    assert len(exports) == 2
    needed = {name for export in exports for name in locked(export)} | {"uv"}
    assert "kopf" in needed
    assert needed.isdisjoint({"kubernetes", "markdown-it-py", "pygments"})

    lacking = [
        name
        for name in sorted(needed)
        if not any(fits(wheel["url"], python_tag(), machine) for wheel in packages[name]["wheels"])
    ]

    assert lacking == []


def fits(url: str, python: str, machine: str) -> bool:
    """Whether a wheel can be installed with a CPython on a machine with glibc."""
    *_, interpreter, abi, platform = url.rpartition("/")[2].removesuffix(".whl").split("-")
    is_pure = platform == "any" and interpreter.startswith("py")
    is_for_machine = any(fnmatch(each, f"manylinux*_{machine}") for each in platform.split("."))
    return is_pure or (is_for_machine and (python in abi or "abi3" in abi or abi == "none"))

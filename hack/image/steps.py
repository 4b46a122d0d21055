"""Takes the steps of the Dockerfile on folders, where there is no engine to build it.

    steps.py --base NAME=FOLDER --build-arg NAME=VALUE ... --volume FILE:PATH:ro FOLDER

Leaves FOLDER/image, the file system, and FOLDER/image.json, what the image says about its process. Every RUN
has mounts and processes of its own; the network is the machine's. Needs root.
"""

import argparse
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

sys.path.insert(0, str(Path(__file__).parents[2]))

import msgspec

from hack.image.folders import Ignored, files_of, within
from hack.image.recipe import Copy, MakeFolder, Run, Stage, UnknownStepError, read

CONTEXT = Path(__file__).parents[2]
"""What COPY copies from."""
_CONTAIN = Path(__file__).with_name("contain.py")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main() -> None:
    """Take every step; exits with the step that failed, or with what is not known."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--base", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--volume", action="append", default=[], metavar="FILE:PATH:ro")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    try:
        stages = read(
            (CONTEXT / "Dockerfile").read_text(),
            dict(each.split("=", 1) for each in arguments.build_arg),
        )
        bases = {name: Path(folder) for name, folder in (each.rsplit("=", 1) for each in arguments.base)}
        ignored = Ignored((CONTEXT / ".dockerignore").read_text())
        Folders(arguments.folder, bases, ignored, arguments.volume).take(stages)
    except (UnknownStepError, OSError, ValueError) as error:
        sys.exit(f"steps: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"steps: exit code {error.returncode} of: {shlex.join(map(str, error.cmd))}")


class Folders:
    """One folder a stage, gone when the image is there."""

    def __init__(
        self, folder: Path, bases: dict[str, Path], ignored: Ignored, volumes: Sequence[str]
    ) -> None:
        self._folder = folder
        self._bases = bases
        self._ignored = ignored
        self._volumes = volumes

    def take(self, stages: Sequence[Stage]) -> None:
        """Take all steps, or stop at one: raises UnknownStepError, OSError or CalledProcessError."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        for stage in stages:
            self._begin(stage)
            for step in stage.steps:
                self._take(self._root(stage.name), step)
        *others, last = stages
        self._root(last.name).rename(self._folder / "image")
        (self._folder / "image.json").write_bytes(msgspec.json.encode(last.settings))
        for stage in others:
            shutil.rmtree(self._root(stage.name))

    def _root(self, stage: str) -> Path:
        return self._folder / f"stage-{stage}"

    def _begin(self, stage: Stage) -> None:
        root = self._root(stage.name)
        if stage.base == "scratch":
            root.mkdir()
            return
        base = self._bases.get(stage.base)
        if base is None:
            raise UnknownStepError(f"FROM {stage.base}: no folder is given for this base")
        _call("cp", "--archive", "--reflink=auto", base, root)

    def _take(self, root: Path, step: Run | Copy | MakeFolder) -> None:
        if isinstance(step, Run):
            self._run(root, step)
        elif isinstance(step, MakeFolder):
            within(root, step.folder).mkdir(parents=True, exist_ok=True)
        elif step.stage is not None:
            self._copy_from_stage(root, step, self._root(step.stage))
        else:
            self._copy_from_context(root, step)

    def _run(self, root: Path, step: Run) -> None:
        print(f"RUN {step.command}", flush=True)
        environment = {"PATH": _PATH, "HOME": "/root", **step.environment}
        options = [f"--env={name}={value}" for name, value in environment.items()]
        volumes = [*self._volumes, "/etc/resolv.conf:/etc/resolv.conf:ro"]
        options += [f"--volume={volume}" for volume in volumes]
        line = f"cd {shlex.quote(step.folder)} || exit\n{step.command}"
        options += ["--build", "--network=host", "--entrypoint=/bin/sh"]
        _call(sys.executable, _CONTAIN, *options, "--", root, "-c", line)

    @staticmethod
    def _copy_from_stage(root: Path, step: Copy, other: Path) -> None:
        for source in step.sources:
            found, target = within(other, source), within(root, step.target)
            if found.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                _call("cp", "--archive", "--reflink=auto", f"{found}/.", target)
            else:
                place = target / found.name if step.is_into_folder else target
                place.parent.mkdir(parents=True, exist_ok=True)
                _call("cp", "--archive", "--reflink=auto", found, place)

    def _copy_from_context(self, root: Path, step: Copy) -> None:
        for source in step.sources:
            is_folder = (CONTEXT / source).is_dir()
            for path in files_of(CONTEXT, source, self._ignored):
                below = path.relative_to(source) if is_folder else PurePosixPath(path.name)
                is_below = is_folder or step.is_into_folder or within(root, step.target).is_dir()
                place = within(root, str(PurePosixPath(step.target, below) if is_below else step.target))
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(CONTEXT / path, place, follow_symlinks=False)


def _call(*words: str | Path) -> None:
    subprocess.run(list(map(str, words)), check=True)  # noqa: S603 - ours, and what the Dockerfile says


if __name__ == "__main__":
    main()

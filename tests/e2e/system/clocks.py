"""Clocks on the wall that are wrong, for a real process: a small library that is preloaded into it."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

_SOURCE = Path(__file__).with_name("skewed_clock.c")
COMPILER = shutil.which("cc")


class Clocks(Struct, frozen=True):
    """The library, compiled."""

    library: Path

    @classmethod
    def made_in(cls, folder: Path) -> "Clocks":
        """Compile it; needs COMPILER."""
        library = folder / "skewed_clock.so"
        command = [str(COMPILER), "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"]
        subprocess.run(command, check=True)  # noqa: S603 - the compiler of the machine, a file of ours
        return cls(library)

    def ahead(self, seconds: int) -> Mapping[str, str]:
        """The environment of a process whose clock is ahead, or behind."""
        return {"LD_PRELOAD": str(self.library), "SKEW_SECONDS": str(seconds)}

"""Paths below a folder that is going to be somebody's root, and what a build may take from its context."""

import fnmatch
import os
import re
from pathlib import Path, PurePosixPath

_LINKS = 40
"""As many symbolic links as the kernel follows."""


def within(root: Path, path: str) -> Path:
    """Where `path` lies for a process whose root is `root`: links are followed there, never out of it.

    What does not exist stays as it is written. Raises OSError for a circle of links.
    """
    parts = list(PurePosixPath(path).parts)[::-1]
    found, links = root, 0
    while parts:
        part = parts.pop()
        if part == "/":
            found = root
        elif part == "..":
            found = found.parent if found != root else root
        elif (found / part).is_symlink():
            links += 1
            if links > _LINKS:
                raise OSError(f"{path} in {root}: too many symbolic links")
            parts.extend(PurePosixPath((found / part).readlink()).parts[::-1])
        else:
            found /= part
    return found


class Ignored:
    """What a .dockerignore keeps out of the context; the last pattern that fits decides."""

    def __init__(self, text: str) -> None:
        """Raises ValueError for a pattern with more than `*` and a leading `**/`."""
        lines = (line.strip() for line in text.splitlines())
        self._patterns = [line for line in lines if line and not line.startswith("#")]
        for pattern in self._patterns:
            plain = pattern.removeprefix("!").removeprefix("**/")
            if re.search(r"[\[\]?\\]|\*\*|\.\.", plain) or plain.endswith("/"):
                raise ValueError(f".dockerignore: {pattern} is not known: names, * and a leading **/ are")

    def __contains__(self, path: str) -> bool:
        """Whether a file, by its path below the context, is kept out: it or a folder above it fits."""
        parts = PurePosixPath(path).parts
        above = [parts[:length] for length in range(1, len(parts) + 1)]
        is_out = False
        for pattern in self._patterns:
            if any(_fits(each, pattern.removeprefix("!")) for each in above):
                is_out = not pattern.startswith("!")
        return is_out


def _fits(parts: tuple[str, ...], pattern: str) -> bool:
    is_anywhere = pattern.startswith("**/")
    wanted = PurePosixPath(pattern.removeprefix("**/")).parts
    found = parts[-len(wanted) :] if is_anywhere else parts
    return len(found) == len(wanted) and all(map(fnmatch.fnmatchcase, found, wanted))


def files_of(context: Path, source: str, ignored: Ignored) -> list[PurePosixPath]:
    """What COPY takes of a file or folder of the context, by path below the context, sorted.

    Raises FileNotFoundError where nothing is left of it.
    """
    start = context / source
    if start.is_dir():
        found = [Path(folder) / name for folder, _, names in os.walk(start) for name in names]
    else:
        found = [start] if start.exists() else []
    paths = sorted(PurePosixPath(path.relative_to(context).as_posix()) for path in found)
    kept = [path for path in paths if str(path) not in ignored]
    if not kept:
        raise FileNotFoundError(f"{source} is not in {context}, or .dockerignore keeps it out")
    return kept

"""Prints packages of uv.lock as requirements with version and hashes: `hack/pinned.py uv`.

Needs nothing but Python: uv itself is installed with it.
"""

import sys
import tomllib
from pathlib import Path

LOCK = Path(__file__).resolve().parents[1] / "uv.lock"


def main() -> None:
    """One line a package. Exits with a message where the lock has none of that name."""
    locked = {package["name"]: package for package in tomllib.loads(LOCK.read_text())["package"]}
    for name in sys.argv[1:]:
        package = locked.get(name) or sys.exit(f"pinned: uv.lock has no package {name}")
        print(f"{name}=={package['version']}", *(f"--hash={wheel['hash']}" for wheel in package["wheels"]))


if __name__ == "__main__":
    main()

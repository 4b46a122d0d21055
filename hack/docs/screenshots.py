#!/usr/bin/env python3
"""Writes docs/images/*.svg: what commands really print on a terminal, in a lab with the bundled shop.

hack/docs/screenshots.py        (from the checkout, with .venv; starts a lab of its own)
"""

import os
import pty
import re
import subprocess
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
LAB = "shots"
WIDTH = 104
ENDS = ["--from", "shop/storefront", "--to", "data/postgres"]

SHOTS = {
    "probe": (["lab", "probe", "--name", LAB, "--check"],),
    "explain": (
        [
            "lab",
            "probe",
            "--name",
            LAB,
            "--from",
            "shop/storefront",
            "--to",
            "data/postgres",
            "--port",
            "5432/TCP",
        ],
        ["explain", "shop/storefront", "data/postgres", "--port", "5432/TCP", "-f", "examples/shop"],
        ["status", "-n", "data"],
    ),
}
"""Picture -> the commands in it."""


def main() -> None:
    """Make all pictures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    podgate("lab", "up", "--name", LAB, "--quiet", "-f", "examples/shop")
    try:
        os.environ["KUBECONFIG"] = podgate("lab", "kubeconfig", "--name", LAB).strip()
        for namespace in ("data", "payments", "platform", "shop"):
            podgate("wait", "--for=enforced", "--all", "-n", namespace, "--timeout", "60s")
        for name, commands in SHOTS.items():
            draw(IMAGES / f"{name}.svg", commands)
            print(f"docs/images/{name}.svg")
    finally:
        podgate("lab", "down", "--name", LAB)


def draw(path: Path, commands: tuple[list[str], ...]) -> None:
    """One picture of what some commands print."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True, highlight=False)
        for command in commands:
            shown = " ".join(command).replace(f" --name {LAB}", "")
            console.print(Text(f"$ podgate {shown}", style="bold"))
            console.print(Text.from_ansi(on_terminal(command).replace("\r\n", "\n")))
        # Fonts of this machine only: a picture of a document fetches nothing.
        path.write_text(
            re.sub(r',\s*url\("https[^)]*\) format\("\w+"\)', "", console.export_svg(title="podgate"))
        )


def podgate(*arguments: str) -> str:
    """Run a command that must succeed."""
    done = subprocess.run(  # noqa: S603 - our own command
        [ROOT / ".venv/bin/podgate", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def on_terminal(command: list[str]) -> str:
    """What a command prints on a terminal of some width."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
    with subprocess.Popen(  # noqa: S603 - our own command
        [ROOT / ".venv/bin/podgate", *command], cwd=ROOT, stdout=follower, stderr=follower, env=environment
    ):
        os.close(follower)
        return read_all(leader)


def read_all(leader: int) -> str:
    """Until the last writer has gone, which the kernel tells as an error."""
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:
            part = b""
        if not part:
            os.close(leader)
            return b"".join(parts).decode()
        parts.append(part)


if __name__ == "__main__":
    main()

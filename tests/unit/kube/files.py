"""Files that change while the code under test reads them."""

from pathlib import Path


def put(path: Path, content: str | bytes | None) -> None:
    """Replace a file; None: remove it."""
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)

"""Where the data of other projects' suites is: beside the checkout, or where PODGATE_CONFORMANCE says.

A clone without that data runs everything but these suites, and says so.
"""

import os
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(os.environ.get("PODGATE_CONFORMANCE") or Path(__file__).parents[4] / "shared" / "conformance")

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def absence(suite: str, folder: Path) -> str:
    """Why a suite cannot run; "" where its data is there."""
    if folder.is_dir():
        return ""
    return f"{suite}: skipped, no data at {folder} (PODGATE_CONFORMANCE names the folder to look in)"


def load(path: Path) -> Any:  # noqa: ANN401  whatever the file holds
    """The one document of a YAML or JSON file."""
    return yaml.load(path.read_text(), Loader=_Loader)  # noqa: S506  both loaders are safe

"""The annotation that puts a policy, or the policies of a namespace, into audit mode.

A trial must never be what a typing mistake leaves behind: whatever is not understood means enforce.
"""

from collections.abc import Mapping
from typing import Any

from controller.objects.kinds import Mode
from controller.objects.names import shown
from controller.objects.report import Report

ANNOTATION = "podgate.dev/mode"
"""On a NetworkPolicy, or on a Namespace for those of its policies that do not have it."""

INVALID_MODE = "invalid-mode"
"""The code of the finding. The API server takes any annotation, so it is a warning."""

_MODES = {mode.value: mode for mode in Mode}


def read_mode(data: Mapping[str, Any], report: Report) -> Mode | None:
    """What an object says about the mode, None where it says nothing; what cannot be read means enforce."""
    metadata = data.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else metadata
    if annotations is None:
        return None
    if not isinstance(annotations, dict):
        return Mode.ENFORCE  # wrong-type, which is reported with the metadata
    if ANNOTATION not in annotations:
        return None
    value = annotations[ANNOTATION]
    mode = _MODES.get(value) if isinstance(value, str) else None
    if mode is None:
        path = f"metadata.annotations[{ANNOTATION}]"
        message = f"{shown(value)} is no mode: it is enforced"
        report.warning(INVALID_MODE, path, message, f"write {ANNOTATION}: audit, or enforce")
    return mode or Mode.ENFORCE

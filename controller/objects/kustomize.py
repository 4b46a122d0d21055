"""Kustomizations through kubectl, which has kustomize built in."""

import shutil
import subprocess
from pathlib import Path

from controller.objects.names import shown_text

TIMEOUT_SECONDS = 120
"""How long kubectl may take; a kustomization can name remote bases."""

_LONGEST_ERROR = 500


class KustomizeError(Exception):
    """kubectl is missing or failed; the message is safe to print."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


def kustomize(folder: str) -> bytes:
    """The YAML that `kubectl kustomize FOLDER` prints. Raises KustomizeError."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        remedy = "install kubectl, or build the folder elsewhere and pass the result with -f -"
        raise KustomizeError("-k needs kubectl, which is not installed", remedy)
    try:
        run = subprocess.run(  # noqa: S603 (no shell; the folder is the user's own argument)
            [kubectl, "kustomize", str(Path(folder).absolute())],  # absolute: cannot be taken for an option
            capture_output=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise KustomizeError(
            f"kubectl kustomize did not run: {shown_text(str(error), _LONGEST_ERROR)}"
        ) from None
    if run.returncode != 0:
        text = shown_text(run.stderr.decode("utf-8", "replace").strip(), _LONGEST_ERROR)
        raise KustomizeError(f"kubectl kustomize failed: {text}", "mend the kustomization")
    return run.stdout

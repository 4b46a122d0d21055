"""What every verb says of its input on standard error."""

import importlib
from pathlib import Path

import pytest
from click.testing import CliRunner

FOREIGN = """\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: theirs, namespace: shop}
spec: {selector: all()}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop}
spec: {containers: []}
"""


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("matrix", ["-f", "{}"]),
        ("render", ["-f", "{}"]),
        ("explain", ["shop/web", "192.0.2.1", "-f", "{}"]),
        ("diff", ["{}", "{}"]),
    ],
)
def test_policies_of_other_makers_are_told_by_every_verb(
    verb: str, arguments: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(FOREIGN)
    command = importlib.import_module(f"controller.cli.{verb}").command
    words = [argument.format(file) for argument in arguments]
    result = CliRunner().invoke(command, words, standalone_mode=False)
    assert "warning policy-not-read" in result.stderr

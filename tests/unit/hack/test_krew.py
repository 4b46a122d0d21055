"""The template of the krew manifest, filled in as a release would, holds what krew asks for."""

import re
from pathlib import Path
from typing import Any

import jsonschema
import yaml

TEMPLATE = Path(__file__).parents[3] / "hack" / "krew" / "podgate.yaml"
TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
FILE: dict[str, Any] = {"type": "object", "required": ["from", "to"]}
PLATFORM: dict[str, Any] = {
    "type": "object",
    "required": ["selector", "uri", "sha256", "bin", "files"],
    "additionalProperties": False,
    "properties": {
        "selector": {"type": "object", "required": ["matchLabels"]},
        "uri": {"type": "string", "pattern": r"^https://.*\.tar\.gz$"},
        "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "bin": {"const": "kubectl-podgate"},
        "files": {"type": "array", "minItems": 1, "items": FILE},
    },
}
PLUGIN: dict[str, Any] = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "krew.googlecontainertools.github.com/v1alpha2"},
        "kind": {"const": "Plugin"},
        "metadata": {"const": {"name": "podgate"}},
        "spec": {
            "type": "object",
            "required": ["version", "homepage", "shortDescription", "description", "platforms"],
            "additionalProperties": False,
            "properties": {
                "version": {"type": "string", "pattern": r"^v\d+\.\d+\.\d+$"},
                "homepage": TEXT,
                # One line of `kubectl krew search`.
                "shortDescription": {"type": "string", "minLength": 1, "maxLength": 50},
                "description": TEXT,
                "platforms": {"type": "array", "minItems": 1, "items": PLATFORM},
            },
        },
    },
}


def test_a_release_makes_a_manifest_of_it() -> None:
    text = re.sub(r"SHA256_\w+", "0" * 64, TEMPLATE.read_text().replace("VERSION", "1.2.3"))

    jsonschema.validate(yaml.safe_load(text), PLUGIN)


def test_every_platform_has_an_archive_of_its_own() -> None:
    platforms = yaml.safe_load(TEMPLATE.read_text())["spec"]["platforms"]

    assert len({platform["uri"] for platform in platforms}) == len(platforms)
    assert len({platform["sha256"] for platform in platforms}) == len(platforms)


def test_the_calls_that_it_shows_say_what_to_read() -> None:
    text = TEMPLATE.read_text()
    shown = re.findall(r"kubectl podgate (?:explain|matrix|lint) .*", text)

    assert shown
    assert [call for call in shown if "-f cluster:" not in call] == []

"""The folders of `manifests`, read in two ways: by kubectl where it is installed, and without it."""

import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.objects.kustomize import kustomize

Object = dict[str, Any]

ROOT = Path(__file__).parents[3]
MANIFESTS = ROOT / "manifests"
BASE = MANIFESTS / "base"
CLEANUP = MANIFESTS / "cleanup"
OVERLAYS = sorted((MANIFESTS / "overlays").iterdir())
INSTALL = MANIFESTS / "install.yaml"

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")


@cache
def built(folder: Path) -> tuple[Object, ...]:
    """What kubectl makes of a folder."""
    return tuple(yaml.safe_load_all(kustomize(str(folder))))


def read(folder: Path) -> list[Object]:
    """The same of a kustomization that only lists resources and images, without kubectl."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert kustomization.keys() <= {"apiVersion", "kind", "resources", "images"}
    found: list[Object] = []
    for name in kustomization["resources"]:
        path = folder / name
        found += read(path) if path.is_dir() else yaml.safe_load_all(path.read_text())
    for image in kustomization.get("images", ()):
        for container in (each for each in containers(*found) if each["image"] == image["name"]):
            container["image"] = f"{image['newName']}:{image['newTag']}"
    return found


def containers(*objects: Object) -> list[Object]:
    """Every container of workloads, those that initialise first."""
    specs = [found["spec"]["template"]["spec"] for found in objects if found["kind"] in WORKLOADS]
    return [each for spec in specs for each in (*spec.get("initContainers", ()), *spec["containers"])]


WORKLOADS = ("DaemonSet", "Deployment")


def named(kind: str, name: str, objects: tuple[Object, ...] | list[Object]) -> Object:
    """The one object of a kind and name."""
    (found,) = (each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name)
    return found


def title(found: Object) -> str:
    """Kind and name, for the name of a test."""
    return f"{found['kind']} {found['metadata']['name']}"

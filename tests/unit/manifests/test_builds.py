"""Every folder of manifests builds, and holds nothing that an API server would refuse or silently cut."""

from pathlib import Path

import pytest
import yaml

from tests.unit.manifests.folders import (
    BASE,
    CLEANUP,
    INSTALL,
    MANIFESTS,
    OVERLAYS,
    Object,
    built,
    needs_kubectl,
    read,
    title,
)
from tests.unit.manifests.strict import NotKubernetesError, check

FOLDERS = [BASE, CLEANUP, *OVERLAYS]
WRITTEN = [*read(BASE), *read(CLEANUP)]


@pytest.mark.parametrize("found", WRITTEN, ids=title)
def test_what_is_written_is_what_kubernetes_knows(found: Object) -> None:
    check(found)


@needs_kubectl
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_builds_to_what_kubernetes_knows(folder: Path) -> None:
    for found in built(folder):
        check(found)


@needs_kubectl
def test_both_components_go_together(tmp_path: Path) -> None:
    kustomization = {
        "resources": ["base"],
        "components": ["components/ha", "components/monitoring"],
        "images": [{"name": "localhost/podgate", "newName": "registry.example.com/podgate", "newTag": "1"}],
    }
    for name in ("base", "components"):
        (tmp_path / name).symlink_to(MANIFESTS / name)
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))

    found = built(tmp_path)

    assert {each["kind"] for each in found} >= {"PodDisruptionBudget", "PodMonitor"}


@needs_kubectl
@pytest.mark.parametrize("folder", [BASE, CLEANUP], ids=lambda folder: folder.name)
def test_reading_without_kubectl_finds_the_same(folder: Path) -> None:
    assert sorted(read(folder), key=title) == sorted(built(folder), key=title)


def test_the_single_file_is_the_base() -> None:
    found = list(yaml.safe_load_all(INSTALL.read_text()))

    assert sorted(found, key=title) == sorted(read(BASE), key=title), "run make install-yaml"


def test_the_single_file_makes_the_namespace_and_the_kinds_first() -> None:
    kinds = [found["kind"] for found in yaml.safe_load_all(INSTALL.read_text())]

    assert kinds[:3] == ["Namespace", "CustomResourceDefinition", "CustomResourceDefinition"]


@pytest.mark.parametrize(
    "damage",
    [
        {"spec": {"hostNetwork": True}},
        {"metadata": {"name": 7}},
        {"api_version": "v1"},
        {"kind": "Namespase"},
    ],
    ids=lambda damage: next(iter(damage)),
)
def test_what_kubernetes_would_not_take_is_found(damage: Object) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}
    with pytest.raises(NotKubernetesError):
        check({**namespace, **damage})

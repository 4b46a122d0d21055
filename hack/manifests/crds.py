"""Writes the CustomResourceDefinitions to manifests/base/crds, from the types that podgate uses.

.venv/bin/python hack/manifests/crds.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import yaml

from controller.objects.crds import node_policy_crd, peer_group_slice_crd

FOLDER = Path(__file__).parents[2] / "manifests" / "base" / "crds"


def main() -> None:
    """Write one file a definition."""
    for definition in (node_policy_crd(), peer_group_slice_crd()):
        path = FOLDER / f"{definition['metadata']['name']}.yaml"
        path.write_text("# Made by hack/manifests/crds.py\n" + yaml.safe_dump(definition, sort_keys=False))
        print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


if __name__ == "__main__":
    main()

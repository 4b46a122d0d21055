"""The shop with its pods, for a kernel, is the shop of its workloads."""

from pathlib import Path

import yaml

from controller.engine.resolve import Resolver
from controller.objects.read import read
from hack.image.placed import placed

SHOP = Path(__file__).parents[3] / "examples" / "shop"


def test_every_node_enforces_the_same_for_what_was_observed(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump_all(placed(SHOP)))

    observed, planned = (
        Resolver.of(each.cluster) for each in (read([str(tmp_path)], observed=True), read([str(SHOP)]))
    )

    assert observed.nodes() == planned.nodes()
    assert [observed.view(node) for node in observed.nodes()] == [
        planned.view(node) for node in planned.nodes()
    ]

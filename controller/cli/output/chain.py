"""What `podgate verify` found on a live cluster, for people and for programs."""

from collections.abc import Iterator
from typing import Any

from controller.cli.output.escapes import plain
from controller.cli.verify_cluster import Link, Verified
from controller.objects.names import counted

_WIDTH = 24


def chain_text(verified: Verified) -> str:
    """A line a link, and below it a line for each thing that differs."""
    return "".join(f"{line}\n" for link in verified.links for line in _lines(link))


def chain_json(verified: Verified) -> dict[str, Any]:
    """The contract of `podgate verify -o json`."""
    return {
        "apiVersion": "podgate.dev/v1alpha1",
        "kind": "Verification",
        "ok": verified.is_clean,
        "links": [
            {
                "name": link.name,
                "ok": not link.faults,
                "compared": link.summary,
                "differences": [{"object": each.object, "message": each.text} for each in link.faults],
                **({"notes": [*link.notes]} if link.notes else {}),
            }
            for link in verified.links
        ],
        "nodes": [
            {
                "name": node.node,
                "ok": not node.faults,
                "digest": node.digest,
                "observedDigest": node.observed,
                "appliedAt": node.applied_at,
                "podsEnforced": node.enforced,
                "agentVersion": node.version,
            }
            for node in verified.nodes
        ],
    }


def _lines(link: Link) -> Iterator[str]:
    verdict = counted(len(link.faults), "difference") if link.faults else "as it should be"
    yield f"{link.name:{_WIDTH}}{verdict}{f': {plain(link.summary)}' if link.summary else ''}"
    for fault in link.faults:
        yield f"  {plain(str(fault))}"
    for note in link.notes:
        yield f"  ({plain(note)})"

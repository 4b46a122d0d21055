"""What the agent's way into the kernel takes of memory, in a process that gets a node's view and no more.

    python hack/bench/memory.py VIEWS BACKEND

VIEWS is a pickled pair of NodeViews. It applies them in turn, looks for drift, and prints as JSON its memory
in MiB at the end and at the most, and what the restore processes that it keeps open have.
"""

import json
import pickle
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from controller.agent.node import FamilyFailure, NodeEnforcement
from controller.dataplane.settings import Settings
from controller.dataplane.tools import Backend, LocalRunner

ROUNDS = 20


def main() -> None:
    """Do what an agent does, then say what that took."""
    with Path(sys.argv[1]).open("rb") as file:
        views = pickle.load(file)  # noqa: S301 - written by the benchmark a moment ago
    node = NodeEnforcement(
        Backend(sys.argv[2]), LocalRunner(), Settings(gates=()), keep_open=True, families=[4]
    )
    for _ in range(ROUNDS):
        for view in views:
            for each in node.apply(view):
                if isinstance(each, FamilyFailure):
                    raise SystemExit(each.reason)
    applied = _memory("self")
    drifts = node.verify(views[-1])
    if drifts:
        raise SystemExit(str(drifts[0]))
    found = _memory("self")
    children = Path("/proc/self/task", str(_own_id()), "children").read_text().split()
    kept_open = sum(_memory(each)["VmRSS"] for each in children)
    node.close()
    print(
        json.dumps(
            {
                "after changes": found["VmRSS"],
                "peak of changes": applied["VmHWM"],
                "peak of a full read-back": found["VmHWM"],
                "restore processes": kept_open,
            }
        )
    )


def _own_id() -> int:
    return int(Path("/proc/self/stat").read_text().split()[0])


def _memory(process: str) -> dict[str, float]:
    lines = (line.split() for line in Path("/proc", process, "status").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) / 1024 for words in lines if words[0].startswith("Vm")}


if __name__ == "__main__":
    main()

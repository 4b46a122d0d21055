"""Applies one view after another, as fast as it can, until it is killed: a program for the tests of faults.

Its arguments are the backend and the name of a change in `changes`. It says `ready` when it has begun.
"""

import sys

from controller.agent.node import NodeEnforcement
from controller.dataplane.tools import Backend, LocalRunner
from tests.kernel.changes import CHANGES, STRICT


def main() -> None:
    change = CHANGES[sys.argv[2]]
    views = [each.view() for each in change]
    node = NodeEnforcement(Backend(sys.argv[1]), LocalRunner(), STRICT, families=[4])
    node.apply(views[0])
    print("ready", flush=True)  # noqa: T201
    while True:
        for view in reversed(views):
            node.apply(view)


if __name__ == "__main__":
    main()

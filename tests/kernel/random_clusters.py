"""Random clusters on a lab, from a seed: the same seed gives the same cluster and the same probes.

Everything is drawn from small alphabets, so that selectors hit, port ranges overlap and blocks cut through pods,
nodes and the outside. Not drawn by hypothesis: nothing is to be shrunk, each round costs real packets, and a long
run wants new clusters all the time.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar

from controller.engine.externals import boundary
from controller.objects.addresses import BITS, Cidr, format_address, parse_address
from controller.objects.kinds import (
    Cluster,
    ContainerPort,
    Direction,
    IPBlock,
    Namespace,
    NetworkPolicy,
    Node,
    Peer,
    Pod,
    PolicyPort,
    PolicyRule,
    Protocol,
)

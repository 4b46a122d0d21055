"""The addresses of an IP block, as the interval algebra knows them."""

from controller.engine.intervals import IntervalSet
from controller.objects.kinds import IPBlock


def block_addresses(block: IPBlock) -> IntervalSet:
    """The addresses of a block without those of its excepts, as integers (rules 2.19 to 2.21)."""
    holes = IntervalSet((hole.first, hole.last) for hole in block.excepts if hole.family == block.cidr.family)
    return IntervalSet([(block.cidr.first, block.cidr.last)]) - holes

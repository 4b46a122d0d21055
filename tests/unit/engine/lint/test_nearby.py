"""Peers that cover each other are found without comparing each with each."""

import ipaddress
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.engine.lint.context import Context
from controller.engine.lint.coverage import peer_covers
from controller.engine.lint.nearby import PeerIndex
from controller.engine.lint.redundancy import check_repeated_items
from controller.objects.kinds import Cluster, Peer
from tests.unit.builder import cluster
from tests.work import calls_of

Block = dict[str, Any]


def of_blocks(blocks: list[Block]) -> Cluster:
    """A policy with one rule whose peers are these."""
    peers = [{"ipBlock": block} for block in blocks]
    return cluster().policy("shop/a", {"podSelector": {}, "ingress": [{"from": peers}]}).build()


def peers_of(found: Cluster) -> tuple[Peer, ...]:
    return found.policies[0].ingress[0].peers or ()


def calls_of_a_check(blocks: list[Block]) -> int:
    """How many calls of Python functions the check makes."""
    context = Context(of_blocks(blocks))
    return calls_of(lambda: list(check_repeated_items(context)))


def disjoint(index: int) -> Block:
    return {"cidr": f"10.{index // 256}.{index % 256}.0/24"}


def in_one_around_all(index: int) -> Block:
    return disjoint(index) if index else {"cidr": "10.0.0.0/8"}


def with_exceptions_of_their_own(index: int) -> Block:
    return {"cidr": "10.0.0.0/8", "except": [f"10.{index // 256}.{index % 256}.0/24"]}


def all_the_same(_index: int) -> Block:
    return {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}


@pytest.mark.parametrize(
    "block",
    [disjoint, in_one_around_all, with_exceptions_of_their_own, all_the_same],
    ids=lambda f: f.__name__,
)
def test_four_times_the_blocks_of_a_rule_are_about_four_times_the_work(
    block: Callable[[int], Block],
) -> None:
    few, many = (calls_of_a_check([block(index) for index in range(count)]) for count in (200, 800))

    assert many < 6 * few


CIDRS = st.sampled_from(
    ["10.0.0.0/8", "10.0.0.0/9", "10.128.0.0/9", "10.0.0.0/16", "10.1.0.0/16", "10.0.0.0/24", "10.0.1.0/24"]
)


@st.composite
def ip_blocks(draw: st.DrawFn) -> Block:
    block: Block = {"cidr": draw(CIDRS)}
    outer = ipaddress.ip_network(block["cidr"])
    inner = st.sampled_from(["10.0.0.0/25", "10.0.0.0/26", "10.0.1.0/25", "10.1.2.0/24", "10.200.0.0/16"])
    excepts = map(ipaddress.ip_network, draw(st.lists(inner, max_size=2, unique=True)))
    fitting = [str(each) for each in excepts if each != outer and outer.supernet_of(each)]  # type: ignore[arg-type]
    return {**block, "except": fitting} if fitting else block


@given(st.lists(ip_blocks(), max_size=7))
def test_the_index_misses_no_peer_that_covers_another(blocks: list[Block]) -> None:
    peers = peers_of(of_blocks(blocks))
    index: PeerIndex[int] = PeerIndex()
    for place, peer in enumerate(peers):
        index.file(peer, place)

    for peer in peers:
        near = {place for found in index.above(peer) for _, place in found}
        covering = {place for place, other in enumerate(peers) if peer_covers(other, peer, "shop")}
        assert covering <= near

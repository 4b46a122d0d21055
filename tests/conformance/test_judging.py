"""The judge itself: a suite that cannot fail would prove nothing."""

from collections.abc import Mapping

import pytest

from controller.objects.kinds import Protocol
from tests.conformance.judging import judge
from tests.conformance.layouts import APART, LAYOUTS, in_family, with_both_families
from tests.conformance.manifests import Store, namespace, pod, policy
from tests.conformance.scenario import Pair, Probe, Scenario, Step
from tests.conformance.suites.own import read_table

SHUT = policy("shop/shut", {"podSelector": {}, "policyTypes": ["Ingress"]})
OBJECTS = (
    namespace("shop"),
    pod("shop/web", {}, "10.0.0.1"),
    pod("shop/db", {}, "10.0.0.2"),
    SHUT,
)


def scenario(expected: Mapping[Pair, bool]) -> Scenario:
    return Scenario("shut", (Step(apply=OBJECTS, probes=(Probe(Protocol.TCP, 80, expected),)),))


def test_a_right_expectation_counts_for_both_ways() -> None:
    score = judge(scenario({("shop/web", "shop/db"): False}), LAYOUTS)
    assert (score.pairs, score.evaluate, score.simulate, score.faults) == (1, 1, 1, ())


def test_a_wrong_expectation_is_told_once_for_each_way_and_family() -> None:
    score = judge(scenario({("shop/web", "shop/db"): True, ("shop/db", "shop/web"): False}), [APART])
    assert (score.pairs, score.evaluate, score.simulate) == (2, 1, 1)
    assert score.faults == (
        "a node each: step 0: shop/web -> shop/db 80/TCP over IPv4 is allowed, evaluate says denied",
        "a node each: step 0: shop/web -> shop/db 80/TCP over IPv4 is allowed, simulate says denied",
        "a node each: step 0: shop/web -> shop/db 80/TCP over IPv6 is allowed, evaluate says denied",
        "a node each: step 0: shop/web -> shop/db 80/TCP over IPv6 is allowed, simulate says denied",
    )


def test_a_deleted_namespace_takes_its_objects_along() -> None:
    store = Store()
    store.take(Step(apply=OBJECTS))
    assert store.take(Step(delete=(("Namespace", "", "shop"),))) == ()


def test_the_image_of_a_block_holds_the_images_of_its_addresses() -> None:
    assert in_family("10.0.0.0/24", 6) == "fd00::a00:0/120"
    assert in_family("10.0.0.7", 6) == "fd00::a00:7"


def test_both_families_of_a_block_are_peers_of_the_same_rule() -> None:
    spec = {"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}]}
    image = {"ipBlock": {"cidr": "fd00::a00:0/104", "except": ["fd00::a01:0/112"]}}
    assert with_both_families(spec)["ingress"][0]["from"] == [*spec["ingress"][0]["from"], image]


def test_a_table_is_read_by_row_and_column() -> None:
    assert read_table("from\\to a b\na # X\nb . #") == {("a", "b"): False, ("b", "a"): True}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        pytest.param("from\\to a b\na # X\nc . #", "rows", id="another-row"),
        pytest.param("from\\to a b\na # X", "rows", id="a-row-missing"),
        pytest.param("from\\to a b\na . X\nb . #", "itself", id="a-pod-judged-against-itself"),
        pytest.param("from\\to a b\na #\nb . #", "shorter", id="a-cell-missing"),
    ],
)
def test_a_table_of_another_shape_is_refused(table: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_table(table)

"""Addresses of a lab: planned, taken from manifests, and handed out."""

import pytest

from controller.lab.addressing import AddressError, Pool, free_number, node_of_manifest, plan_node


def test_a_node_has_an_address_and_a_pod_block_of_each_family() -> None:
    node = plan_node("node-3", 3, (4, 6))

    assert node.addresses == {4: "172.30.0.13", 6: "fd00:172:30::13"}
    assert node.pod_blocks == {4: "10.244.3.0/24", 6: "fd00:244:3::/64"}
    assert node.gateways == {4: "10.244.3.1", 6: "fd00:244:3::1"}


def test_a_node_of_a_manifest_keeps_its_addresses() -> None:
    manifest = {
        "metadata": {"name": "node-a"},
        "spec": {"podCIDR": "10.20.0.0/24", "podCIDRs": ["10.20.0.0/24"]},
        "status": {
            "addresses": [
                {"type": "Hostname", "address": "node-a"},
                {"type": "InternalIP", "address": "192.168.50.11"},
            ]
        },
    }

    node = node_of_manifest(manifest, 1, (4, 6))

    assert node.addresses == {4: "192.168.50.11", 6: "fd00:172:30::11"}
    assert node.pod_blocks == {4: "10.20.0.0/24", 6: "fd00:244:1::/64"}


def test_a_new_node_gets_the_lowest_free_number() -> None:
    assert free_number([1, 3]) == 2


def test_a_lab_that_is_full_says_so() -> None:
    with pytest.raises(AddressError, match="at most 200 nodes"):
        free_number(range(1, 201))


def test_a_pool_starts_behind_the_gateway() -> None:
    assert Pool("10.244.1.0/24").take() == "10.244.1.2"


def test_an_address_given_back_is_the_last_to_come_again() -> None:
    pool = Pool("10.244.1.0/29")
    first = pool.take()
    pool.give_back(first)

    assert [pool.take() for _ in range(5)] == [f"10.244.1.{number}" for number in (3, 4, 5, 6, 2)]


def test_a_wanted_address_is_given_where_it_is_free() -> None:
    pool = Pool("10.244.1.0/24")

    assert [pool.take("10.244.1.77"), pool.take("10.244.1.77")] == ["10.244.1.77", "10.244.1.2"]


def test_a_wanted_address_of_another_block_is_not_given() -> None:
    assert Pool("10.244.1.0/24").take("10.9.9.9") == "10.244.1.2"


def test_an_empty_pool_says_so() -> None:
    pool = Pool("10.244.1.0/30")
    pool.take()

    with pytest.raises(AddressError, match=r"no address is left in 10\.244\.1\.0/30"):
        pool.take()


def test_a_block_of_ipv6_has_addresses_enough() -> None:
    assert Pool("fd00:244:1::/64").take() == "fd00:244:1::2"

"""Addresses and blocks: the spellings of rule 2.30, against two independent libraries where they agree."""

import ipaddress

import netaddr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.objects.addresses import AddressError, Cidr, format_address, parse_address, parse_cidr

ipv4 = st.integers(0, 2**32 - 1)
ipv6 = st.integers(0, 2**128 - 1)


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.5/24", "10.0.0.0/24"),  # host bits
        ("010.000.0.01/32", "10.0.0.1/32"),  # leading zeros are decimal, not octal
        ("10.0.0.0/08", "10.0.0.0/8"),
        ("10.0.0.0/0000000008", "10.0.0.0/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("1.2.3.4/0", "0.0.0.0/0"),
        ("::/0", "::/0"),
        ("FD00:0:0::5/64", "fd00::/64"),
        ("2001:DB8:0:0:0:0:0:1/128", "2001:db8::1/128"),
        ("00001::/16", "1::/16"),
        ("::ffff:10.0.0.5/104", "10.0.0.0/8"),  # IPv4-mapped
        ("::ffff:10.0.0.5/128", "10.0.0.5/32"),
        ("::ffff:a00:5/120", "10.0.0.0/24"),
        ("::ffff:010.0.0.5/128", "10.0.0.5/32"),
        ("::ffff:10.0.0.5/96", "0.0.0.0/0"),
        ("::ffff:10.0.0.5/64", "::/64"),  # more than IPv4 in it
        ("::1.2.3.4/128", "::1.2.3.4/128"),  # compatible is not mapped
    ],
)
def test_a_block_is_read_in_every_spelling_that_the_api_server_takes(text: str, block: str) -> None:
    assert str(parse_cidr(text)) == block


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.0.0.0",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/8 ",
        " 10.0.0.0/8",
        "10.0.0.0/8\n",
        "10.0.0/8",
        "10.0.0.0.0/8",
        "10.0.0.256/8",
        "0x0a.0.0.0/8",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/8/8",
        "::/129",
        "fe80::1%eth0/64",
        "1:2:3:4:5:6:7:8:9/64",
        "1::2::3/64",
        ":1/64",
        "12345::/16",
        "1.2.3.4::/16",
        "::1.2.3/16",
        "\uff110.0.0.0/8",  # a digit, but none of ASCII
        "10.0.0.0\x00/8",
        "x",
        "/8",
    ],
)
def test_what_the_api_server_refuses_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        parse_cidr(text)


@pytest.mark.parametrize("text", ["fd00::\udc80/64", "10.0.0.\u0661/32", "\ud800"])
def test_characters_that_cannot_be_encoded_are_no_address(text: str) -> None:
    """A lone surrogate, which JSON can hold, ended the decoding of a Node."""
    with pytest.raises(AddressError):
        parse_cidr(text)
    with pytest.raises(AddressError):
        parse_address(text)


def test_an_error_about_ten_megabytes_is_short() -> None:
    for parse in (parse_cidr, parse_address):
        with pytest.raises(AddressError) as caught:
            parse("1" * 10_000_000)
        assert len(str(caught.value)) < 100


@given(ipv4)
def test_every_ipv4_address_has_the_text_of_netaddr_and_ipaddress(value: int) -> None:
    text = format_address(4, value)
    assert text == str(ipaddress.IPv4Address(value)) == str(netaddr.IPAddress(value, 4))
    assert parse_address(text) == (4, value)


@given(ipv6)
def test_every_ipv6_address_is_read_back(value: int) -> None:
    text = format_address(6, value)
    assert int(ipaddress.IPv6Address(text)) == int(netaddr.IPAddress(text)) == value
    mapped = value >> 32 == 0xFFFF
    assert parse_address(text) == ((4, value & 0xFFFFFFFF) if mapped else (6, value))


@given(ipv4, st.integers(0, 32))
def test_an_ipv4_block_covers_what_netaddr_and_ipaddress_say(value: int, prefix: int) -> None:
    text = f"{ipaddress.IPv4Address(value)}/{prefix}"
    block = parse_cidr(text)
    network = ipaddress.ip_network(text, strict=False)
    assert str(block) == str(network) == str(netaddr.IPNetwork(text).cidr)
    assert (block.first, block.last) == (int(network[0]), int(network[-1]))


@given(ipv6.filter(lambda value: value >> 32 != 0xFFFF), st.integers(0, 128))
def test_an_ipv6_block_covers_what_netaddr_and_ipaddress_say(value: int, prefix: int) -> None:
    text = f"{ipaddress.IPv6Address(value)}/{prefix}"
    block = parse_cidr(text)
    network = ipaddress.ip_network(text, strict=False)
    oracle = netaddr.IPNetwork(text)
    assert (block.first, block.last) == (int(network[0]), int(network[-1])) == (oracle.first, oracle.last)


@given(ipv4, st.integers(0, 32), ipv4, st.integers(0, 32))
def test_containment_is_that_of_ipaddress(a: int, a_prefix: int, b: int, b_prefix: int) -> None:
    texts = f"{ipaddress.IPv4Address(a)}/{a_prefix}", f"{ipaddress.IPv4Address(b)}/{b_prefix}"
    outer, inner = (ipaddress.IPv4Network(text, strict=False) for text in texts)
    assert parse_cidr(texts[0]).contains(parse_cidr(texts[1])) is inner.subnet_of(outer)


def test_a_block_never_contains_one_of_the_other_family() -> None:
    """Rule 2.21."""
    assert not parse_cidr("0.0.0.0/0").contains(parse_cidr("::/0"))
    assert not Cidr(6, 0, 0).contains(Cidr(4, 0, 0))

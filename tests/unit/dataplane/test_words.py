"""Entries of sets as ipset spells them, and as numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.dataplane.ruleset import SetType
from controller.dataplane.words import Entry, UnreadableError, format_entry, parse_entry
from tests.property.rulesets import families, set_entries


@given(st.data(), st.sampled_from(SetType), families)
def test_formatting_and_parsing_an_entry_are_inverse(data: st.DataObject, kind: SetType, family: int) -> None:
    entry = data.draw(set_entries(kind, family))

    assert parse_entry(format_entry(entry, family), kind, family) == entry


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (Entry(0x0A000001, 32), "10.0.0.1"),
        (Entry(0x0A000000, 25), "10.0.0.0/25"),
        (Entry(0x0A000001, 32, 132, 0), "10.0.0.1,sctp:0"),
    ],
)
def test_a_host_has_no_prefix_length_and_a_port_its_protocol(entry: Entry, text: str) -> None:
    assert format_entry(entry, 4) == text


def test_an_ipv4_mapped_address_is_an_ipv6_address_to_ipset() -> None:
    assert parse_entry("::ffff:10.0.0.1", SetType.ADDRESSES, 6) == Entry(0xFFFF << 32 | 0x0A000001, 128)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("010.0.0.1", SetType.ADDRESSES),
        ("10.0.0.1/", SetType.NETWORKS),
        ("10.0.0.1/33", SetType.NETWORKS),
        ("10.0.0.1/٣", SetType.NETWORKS),
        ("10.0.0.1", SetType.ENDPOINTS),
        ("10.0.0.1,tcp:http", SetType.ENDPOINTS),
        ("10.0.0.1,tcp:65536", SetType.ENDPOINTS),
        ("10.0.0.1,tcp", SetType.ENDPOINTS),
        ("", SetType.ADDRESSES),
        ("10.0.0.1\0", SetType.ADDRESSES),
    ],
)
def test_what_ipset_never_prints_is_refused(text: str, kind: SetType) -> None:
    with pytest.raises(UnreadableError):
        parse_entry(text, kind, 4)

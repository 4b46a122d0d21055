"""The grammars of rule 2.70 and the texts that may reach a terminal."""

import pytest

from controller.objects.names import (
    dns_label_problem,
    dns_subdomain_problem,
    label_key_problem,
    label_value_problem,
    port_name_problem,
    safe_name,
    shown,
    shown_key,
    shown_text,
)


@pytest.mark.parametrize("name", ["a", "a-b", "1", "a.b-c.d", "x" * 253])
def test_a_dns_subdomain_is_accepted(name: str) -> None:
    assert dns_subdomain_problem(name) == ""


@pytest.mark.parametrize(
    "name", ["", "A", "a_b", "-a", "a-", "a..b", ".a", "a.", "x" * 254, "a\n", "ä", "a b"]
)
def test_what_is_no_dns_subdomain_is_refused(name: str) -> None:
    assert dns_subdomain_problem(name) != ""


@pytest.mark.parametrize(
    ("name", "accepted"), [("a", True), ("x" * 63, True), ("x" * 64, False), ("a.b", False)]
)
def test_a_dns_label_has_no_dots_and_63_characters(name: str, accepted: bool) -> None:
    assert (dns_label_problem(name) == "") is accepted


@pytest.mark.parametrize(
    "key", ["a", "A_b.c-D", "x" * 63, "example.com/app", "y" * 253 + "/x", "1", "kubernetes.io/metadata.name"]
)
def test_a_label_key_is_accepted(key: str) -> None:
    assert label_key_problem(key) == ""


@pytest.mark.parametrize(
    "key",
    [
        "",
        "-a",
        "a-",
        "x" * 64,
        "a b",
        "/a",
        "a/",
        "a/b/c",
        "EXAMPLE.com/a",
        "a_b/c",
        "y" * 254 + "/x",
        "a\n",
        "ä",
    ],
)
def test_what_is_no_label_key_is_refused(key: str) -> None:
    assert label_key_problem(key) != ""


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        ("", True),
        ("a", True),
        ("A_b.c-D", True),
        ("x" * 63, True),
        ("x" * 64, False),
        ("-a", False),
        ("a b", False),
    ],
)
def test_a_label_value_may_be_empty(value: str, accepted: bool) -> None:
    assert (label_value_problem(value) == "") is accepted


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("http", True),
        ("a-1", True),
        ("1a", True),
        ("x" * 15, True),
        ("x" * 16, False),
        ("", False),
        ("80", False),
        ("a--b", False),
        ("-a", False),
        ("a-", False),
        ("HTTP", False),
        ("a_b", False),
    ],
)
def test_a_port_name_is_an_iana_service_name(name: str, accepted: bool) -> None:
    """Rule 2.70 d."""
    assert (port_name_problem(name) == "") is accepted


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("web", '"web"'),
        ('a"b\\', '"a\\"b\\\\"'),
        ("a\nb\x1b[31m", '"a\\nb\\x1b[31m"'),
        ("\u202eevil", '"\\u202eevil"'),
        ("\U000e0001", '"\\U000e0001"'),
        (True, "true"),
        (None, "null"),
        (80, "80"),
        pytest.param(10**5000, "a number of more than 19 digits", id="huge"),
        (1.5, "1.5"),
        ([1], "a list"),
        ({}, "a mapping"),
    ],
)
def test_a_value_is_shown_on_one_printable_line(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_text_of_ten_megabytes_is_shown_by_its_first_60_characters() -> None:
    assert shown("x" * 10**7) == f'"{"x" * 60}..."'


def test_keys_and_texts_are_shortened_too() -> None:
    assert len(shown_key("k" * 10**7)) < 70
    assert shown_text("t" * 100, 10) == "t" * 10 + "..."


@pytest.mark.parametrize("name", ["web", "a.b-c", "x" * 253])
def test_a_valid_name_is_safe_as_it_is(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        'we"b',
        "we'b",
        "a\nb",
        "a b",
        "a/b",
        "<x>",
        "\x1b[0m",
        "ä",
        pytest.param("x" * 10**7, id="long"),
        "\n" * 260,
    ],
)
def test_a_name_made_safe_has_no_character_that_can_do_harm(name: str) -> None:
    assert set(safe_name(name)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-\\")


def test_different_names_stay_different_when_made_safe() -> None:
    names = ["a\n", "a\\n", "a\\x0a", "a\\\\x0a", "x" * 300, "x" * 301, safe_name("x" * 300), "a b", "a/b"]
    assert len({safe_name(name) for name in names}) == len(names)

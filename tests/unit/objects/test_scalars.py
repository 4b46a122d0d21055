"""What kubectl makes of a scalar without quotes; the values are its own (1.32, `annotate --local`)."""

import pytest

from controller.objects.scalars import (
    NotFiniteError,
    Scalar,
    key_text,
    plain_key,
    resolve_plain,
    resolve_short,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("y", True),
        ("Yes", True),
        ("on", True),
        ("TRUE", True),
        ("yEs", "yEs"),
        ("n", False),
        ("NO", False),
        ("off", False),
        ("False", False),
        ("~", None),
        ("", None),
        ("Null", None),
        ("nUll", "nUll"),
        ("80", 80),
        ("+5", 5),
        ("-3", -3),
        ("010", 8),
        ("0o17", 15),
        ("-017", -15),
        ("0_7", 7),
        ("089", 89),
        ("0x1F", 31),
        ("0X1f", 31),
        ("0b101", 5),
        ("-0b11", -3),
        ("1_000", 1000),
        ("1__0", 10),
        ("1e3", 1000),
        ("80.0", 80),
        ("1.", 1),
        (".5", 0.5),
        (".5_0", 0.5),
        ("1_0.5", 10.5),
        ("1.5", 1.5),
        ("1e-3", 0.001),
        ("1e500", "1e500"),
        (".e5", ".e5"),
        ("12:30:45", "12:30:45"),
        ("2001-12-14", "2001-12-14"),
        ("2001-12-14T10:00:00Z", "2001-12-14T10:00:00Z"),
        ("0x", "0x"),
        ("-", "-"),
        ("1.2.3.4", "1.2.3.4"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("web", "web"),
        ("=", "="),
    ],
)
def test_a_plain_scalar_has_the_value_that_kubectl_gives_it(text: str, value: Scalar) -> None:
    for resolve in (resolve_plain, resolve_short):
        assert (type(resolve(text)), resolve(text)) == (type(value), value)


@pytest.mark.parametrize("text", [".nan", ".NaN", ".inf", "-.INF", "+.Inf"])
def test_numbers_that_json_lacks_are_refused(text: str) -> None:
    with pytest.raises(NotFiniteError):
        resolve_plain(text)


def test_a_number_of_more_than_64_bits_is_a_float() -> None:
    assert resolve_plain("9" * 30) == 1e30


def test_a_number_of_a_million_digits_is_a_text() -> None:
    assert isinstance(resolve_plain("9" * 1_000_000), str)


@pytest.mark.parametrize(
    ("value", "key"), [("a", "a"), (True, "true"), (False, "false"), (80, "80"), (1.5, "1.5")]
)
def test_keys_become_texts_as_in_json(value: Scalar, key: str) -> None:
    assert key_text(value) == key


def test_null_is_no_key() -> None:
    assert key_text(None) is None
    assert plain_key("~") is None

"""The matrix of real probes, as text and as JSON."""

import json

from controller.cli.console import Painter
from controller.cli.output.probes import Probed, ProbeEnd, probes_json, probes_text
from controller.lab.probing import Outcome

A1, A2 = ProbeEnd("shop", "a", "shop/a-1"), ProbeEnd("shop", "a", "shop/a-2")
B = ProbeEnd("data", "b", "data/b-0")
C = ProbeEnd("data", "c", "data/c-0")

YES, NO, REFUSED = Outcome.ANSWERED, Outcome.SILENT, Outcome.REFUSED
MANY = (
    Probed(A1, B, "80/TCP", YES),
    Probed(A2, B, "80/TCP", YES),
    Probed(A1, C, "80/TCP", YES),
    Probed(A1, C, "53/UDP", NO),
    Probed(B, A1, "80/TCP", NO),
    Probed(B, C, "80/TCP", YES),
    Probed(C, B, "80/TCP", NO),
    Probed(A1, A2, "80/TCP", REFUSED),
)


def text(*probed: Probed, width: int = 80) -> str:
    return probes_text(probed, Painter(color=False), width)


def test_the_grid_shows_what_each_reaches_and_the_list_the_rest() -> None:
    assert text(*MANY) == (
        "row to column: ✓ answers   + some ports   · denied   x refused   \\ itself\n"
        "\n"
        "      1 2 3\n"
        "data\n"
        "  1 b \\ ✓ ·\n"
        "  2 c · \\\n"
        "shop\n"
        "  3 a ✓ + x\n"
        "\n"
        "FROM     TO       ALLOWED   REFUSED\n"
        "shop/a   data/c   80/TCP\n"
        "         shop/a             80/TCP\n"
        "\n"
        "8 probes: 4 allowed, 3 denied, 1 refused\n"
    )


def test_of_few_pairs_everything_is_listed_without_a_grid() -> None:
    assert text(Probed(A1, B, "80/TCP", YES), Probed(A1, B, "53/UDP", NO), Probed(B, A1, "80/TCP", NO)) == (
        "FROM     TO       ALLOWED   DENIED\n"
        "data/b   shop/a             80/TCP\n"
        "shop/a   data/b   80/TCP    53/UDP\n"
        "\n"
        "3 probes: 1 allowed, 2 denied\n"
    )


def test_pods_of_a_workload_that_differ_are_counted() -> None:
    found = text(Probed(A1, B, "80/TCP", YES), Probed(A2, B, "80/TCP", NO))

    assert "shop/a   data/b   80/TCP (1 of 2)   80/TCP (1 of 2)\n" in found


def test_a_grid_that_does_not_fit_is_left_out() -> None:
    assert text(*MANY, width=5).startswith("3 ends: the grid is wider than 5 columns\n")


def test_nothing_but_ascii_is_used_where_the_terminal_knows_no_more() -> None:
    assert probes_text(MANY, Painter(color=False), 80, ascii_only=True).isascii()


def test_json_has_every_probe_with_its_pods() -> None:
    found = json.loads(probes_json([Probed(A2, B, "80/TCP", NO), Probed(A1, B, "80/TCP", YES)]))

    assert found["probes"] == [
        {"from": "shop/a-1", "to": "data/b-0", "port": "80/TCP", "verdict": "allowed"},
        {"from": "shop/a-2", "to": "data/b-0", "port": "80/TCP", "verdict": "denied"},
    ]

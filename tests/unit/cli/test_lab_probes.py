"""The matrix of real probes, as text and as JSON."""

import json

from controller.cli.console import Painter
from controller.cli.output.probes import Probed, ProbeEnd, probes_json, probes_text
from controller.lab.probing import Outcome

A1, A2 = ProbeEnd("shop", "a", "shop/a-1"), ProbeEnd("shop", "a", "shop/a-2")
B = ProbeEnd("data", "b", "data/b-0")


def text(*probed: Probed, width: int = 80) -> str:
    return probes_text(probed, Painter(color=False), width)


def test_the_grid_shows_what_each_reaches() -> None:
    found = text(
        Probed(A1, B, "80/TCP", Outcome.ANSWERED),
        Probed(A2, B, "80/TCP", Outcome.ANSWERED),
        Probed(B, A1, "80/TCP", Outcome.SILENT),
        Probed(A1, A2, "80/TCP", Outcome.REFUSED),
    )

    assert found == (
        "row to column, by real packets: ✓ every port   + some, listed below   · denied   x refused\n"
        "\n"
        "      1 2\n"
        "data\n"
        "  1 b \\ ·\n"
        "shop\n"
        "  2 a ✓ x\n"
        "\n"
        "FROM     TO       ALLOWED   REFUSED\n"
        "shop/a   shop/a             80/TCP\n"
        "\n"
        "4 probes: 2 allowed, 1 denied, 1 refused\n"
    )


def test_a_part_of_the_ports_is_listed() -> None:
    found = text(Probed(A1, B, "80/TCP", Outcome.ANSWERED), Probed(A1, B, "53/UDP", Outcome.SILENT))

    assert "  2 a +\n" in found
    assert "shop/a   data/b   80/TCP\n" in found


def test_pods_of_a_workload_that_differ_are_counted() -> None:
    found = text(Probed(A1, B, "80/TCP", Outcome.ANSWERED), Probed(A2, B, "80/TCP", Outcome.SILENT))

    assert "shop/a   data/b   80/TCP (1 of 2)\n" in found


def test_a_grid_that_does_not_fit_is_left_out() -> None:
    found = text(Probed(A1, B, "80/TCP", Outcome.ANSWERED), width=5)

    assert found.startswith("2 ends: the grid is wider than 5 columns\n")


def test_json_has_every_probe_with_its_pods() -> None:
    found = json.loads(
        probes_json([Probed(A2, B, "80/TCP", Outcome.SILENT), Probed(A1, B, "80/TCP", Outcome.ANSWERED)])
    )

    assert found["probes"] == [
        {"from": "shop/a-1", "to": "data/b-0", "port": "80/TCP", "verdict": "allowed"},
        {"from": "shop/a-2", "to": "data/b-0", "port": "80/TCP", "verdict": "denied"},
    ]

"""What probes in a row mean."""

from controller.lab.podspec import ReadinessCheck
from controller.lab.readiness import Verdict

CHECK = ReadinessCheck(port=80, period=1, timeout=1, delay=0, failures=3, successes=1)


def outcomes(probes: str) -> str:
    """A row of `+` and `-`, and what it means after each."""
    verdict = Verdict(CHECK)
    return "".join("+" if verdict.note(each == "+") else "-" for each in probes)


def test_one_success_makes_ready() -> None:
    assert outcomes("+") == "+"


def test_only_failures_in_a_row_make_unready() -> None:
    assert outcomes("+--+---") == "++++++-"


def test_it_becomes_ready_again() -> None:
    assert outcomes("+---+") == "+++-+"

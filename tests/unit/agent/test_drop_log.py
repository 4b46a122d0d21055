"""Log lines of denied packets: few, bounded, and none that gets lost."""

from typing import Any

from controller.agent.denial import Denial, Reason
from controller.agent.drop_log import AGAIN, DROPPED, DropLines
from controller.agent.packet import Packet
from controller.objects.kinds import Direction


class Written:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def bind(self, **_: object) -> "Written":
        return self

    def info(self, msg: str, **keys: object) -> None:
        self.lines.append({"msg": msg, **keys})

    debug = warning = error = exception = info


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def denial(pod: str = "shop/db", peer: str = "10.0.0.4") -> Denial:
    return Denial(pod, Direction.INGRESS, peer, "", ("shop/db",), Reason.NO_RULE_MATCHED)


def lines() -> tuple[DropLines, Written, Clock]:
    log, clock = Written(), Clock()
    return DropLines(log, clock), log, clock


def take(found: DropLines, peer: str = "10.0.0.4", port: int = 80) -> None:
    found.take(Packet(4, peer, "10.0.0.3", 6, port), denial(peer=peer), is_audited=False)


def test_a_line_says_which_pod_which_way_from_whom_and_by_which_policies() -> None:
    found, log, _ = lines()

    take(found)

    assert log.lines == [
        {
            "msg": DROPPED,
            "namespace": "shop",
            "pod": "db",
            "direction": "ingress",
            "peer": "10.0.0.4",
            "peer_pod": "",
            "protocol": "TCP",
            "port": 80,
            "policies": ["shop/db"],
            "reason": "NoRuleMatched",
            "count": 1,
        }
    ]


def test_repeats_are_counted_and_told_when_their_time_is_over() -> None:
    found, log, clock = lines()
    for _ in range(4):
        take(found)
    found.look()
    assert len(log.lines) == 1

    clock.now = AGAIN
    found.look()

    assert [line["count"] for line in log.lines] == [1, 3]


def test_a_connection_that_was_silent_is_told_of_at_once_again() -> None:
    found, log, clock = lines()
    take(found)
    clock.now = AGAIN
    found.look()

    take(found)

    assert [line["count"] for line in log.lines] == [1, 1]


def test_another_port_is_another_line() -> None:
    found, log, _ = lines()

    take(found, port=80)
    take(found, port=81)

    assert [line["port"] for line in log.lines] == [80, 81]


def test_memory_is_bounded_and_what_is_forgotten_is_told() -> None:
    found, log, _ = lines()
    take(found, "10.0.0.4")
    take(found, "10.0.0.4")
    for number in range(5000):
        take(found, f"10.1.{number >> 8}.{number & 255}")

    counts = [line["count"] for line in log.lines if line["peer"] == "10.0.0.4"]

    assert counts == [1, 1]
    assert len(found._told) == 4096  # noqa: SLF001 - what must not grow


def test_at_the_end_nothing_is_left_untold() -> None:
    found, log, _ = lines()
    take(found)
    take(found)

    found.flush()

    assert sum(line["count"] for line in log.lines) == 2

"""What lists and events make of the copy, for histories that hypothesis thinks up."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from controller.kube.errors import Gone, MalformedAnswer, ServerError
from controller.kube.mirror import Mirror
from controller.kube.sink import Unreadable
from controller.kube.store import Key
from tests.unit.kube.following import THINGS, Thing, value_of
from tests.unit.kube.scripted import bookmark, event, line, status, thing

State = dict[Key, str]


class Ledger:
    """A sink that keeps its own books, and objects to what cannot be."""

    def __init__(self) -> None:
        self.values: State = {}
        self.bad: set[Key | None] = set()

    def added(self, key: Key, value: str, _: float) -> None:
        assert key not in self.values
        self.bad.discard(key)
        self.values[key] = value

    def changed(self, key: Key, value: str, old: Any, _: float) -> None:  # noqa: ANN401 - of Sink
        assert self.values[key] == old
        self.values[key] = value

    def removed(self, key: Key, old: Any, _: float) -> None:  # noqa: ANN401 - of Sink
        assert old is None or self.values[key] == old
        self.values.pop(key, None)
        self.bad.discard(key)

    def unreadable(self, bad: Unreadable, _: float) -> None:
        self.bad.add(bad.key)
        if bad.key:
            self.values.pop(bad.key, None)

    def synced(self, _: float) -> None:
        """Nothing to book."""


def mirror() -> tuple[Mirror[str], Ledger]:
    ledger = Ledger()
    return Mirror(THINGS, wire=Thing, keep=value_of, sink=ledger), ledger


def lists(copy: Mirror[str], version: int, *documents: dict[str, Any]) -> None:
    copy.begin_list()
    copy.list_items([Raw(json.dumps(each).encode()) for each in documents], 0.0)
    copy.end_list(str(version), 0.0)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[dict[str, Any]], State]:
    """Events of a few names in the order the server made them, and the state they end in.

    Some objects cannot be read (a number for a value) and some are of no interest (an empty value).
    """
    events: list[dict[str, Any]] = []
    living: dict[str, str] = {}
    state: State = {}
    for version in range(10, 10 + draw(st.integers(1, 25))):
        name = draw(st.sampled_from("abc"))
        key = ("shop", name)
        if name in living and draw(st.booleans()):
            events.append(event("DELETED", thing(name, version, uid=living.pop(name))))
            state.pop(key, None)
            continue
        kind = "MODIFIED" if name in living else "ADDED"
        uid = living.setdefault(name, f"uid-{version}")
        value: object = draw(st.sampled_from([f"v{version}", f"v{version}", 7, ""]))
        events.append(event(kind, thing(name, version, uid=uid, value=value)))
        state.pop(key, None)
        if isinstance(value, str) and value:
            state[key] = value
    return events, state


@given(histories())
def test_events_in_order_end_in_the_state_of_the_server(history: tuple[list[dict[str, Any]], State]) -> None:
    events, state = history
    copy, ledger = mirror()
    copy.take_events([line(each) for each in events], 0.0)
    assert dict(copy.items()) == ledger.values == state


@given(histories(), st.data())
def test_events_out_of_order_and_repeated_end_in_it_too(
    history: tuple[list[dict[str, Any]], State], data: st.DataObject
) -> None:
    events, state = history
    again = data.draw(st.lists(st.sampled_from(events), max_size=10))
    copy, ledger = mirror()
    copy.take_events([line(each) for each in data.draw(st.permutations(events + again))], 0.0)
    assert dict(copy.items()) == ledger.values == state


@given(histories(), histories(), st.integers(0, 200))
def test_after_a_list_only_what_it_holds_is_known_whatever_its_versions(
    before: tuple[list[dict[str, Any]], State], now: tuple[list[dict[str, Any]], State], version: int
) -> None:
    copy, ledger = mirror()
    copy.take_events([line(each) for each in before[0]], 0.0)
    documents = [thing(name, version, value=value) for (_, name), value in now[1].items()]
    lists(copy, version, *documents)
    assert dict(copy.items()) == ledger.values == now[1]
    assert not ledger.bad


@given(histories())
def test_what_a_list_cannot_read_is_quarantined_until_it_is_gone(
    history: tuple[list[dict[str, Any]], State],
) -> None:
    copy, ledger = mirror()
    copy.take_events([line(each) for each in history[0]], 0.0)
    lists(copy, 500, *(thing(name, 500, value=7) for name in "abc"))
    assert ledger.bad == {("shop", name) for name in "abc"}
    assert len(copy) == 3
    lists(copy, 501)
    assert not ledger.bad
    assert len(copy) == 0


@given(st.binary(max_size=200))
def test_no_bytes_whatever_do_more_than_leave_a_gap(noise: bytes) -> None:
    copy, ledger = mirror()
    lists(copy, 5)
    with pytest.raises(MalformedAnswer):
        copy.take_events([noise, line(event("ADDED", thing("a", 6, value="x")))], 0.0)
    assert copy.has_gap
    assert ledger.values == {("shop", "a"): "x"}


def test_an_event_nested_thousands_deep_is_no_event() -> None:
    copy, ledger = mirror()
    lists(copy, 5)
    deep = (
        b'{"type":"ADDED","object":{"metadata":{"name":"b"},"value":' + b"[" * 50_000 + b"]" * 50_000 + b"}}"
    )
    with pytest.raises(MalformedAnswer):
        copy.take_events([deep, line(event("ADDED", thing("a", 6, value="x")))], 0.0)
    assert ledger.values == {("shop", "a"): "x"}


def test_a_gap_before_an_error_event_is_not_forgotten() -> None:
    copy, _ = mirror()
    lists(copy, 5)
    with pytest.raises(ServerError):
        copy.take_events([b"noise", line(event("ERROR", status(500, "InternalError")))], 0.0)
    assert copy.has_gap


def test_an_error_event_without_a_status_is_an_error_all_the_same() -> None:
    copy, _ = mirror()
    with pytest.raises(Exception, match="an ERROR event without a Status"):
        copy.take_events([line({"type": "ERROR", "object": {"code": []}})], 0.0)


def test_a_bookmark_from_before_is_another_history() -> None:
    copy, _ = mirror()
    lists(copy, 50)
    copy.take_events([line(bookmark(60))], 0.0)
    with pytest.raises(Gone, match="back at resourceVersion 59"):
        copy.take_events([line(bookmark(59))], 0.0)


def test_the_place_to_go_on_from_never_moves_back() -> None:
    copy, _ = mirror()
    lists(copy, 5)
    copy.take_events([line(event("ADDED", thing(n, v, value="x"))) for n, v in (("a", 9), ("b", 7))], 0.0)
    assert copy.position == "9"


def test_versions_that_are_no_numbers_are_taken_in_the_order_they_come() -> None:
    copy, _ = mirror()
    opaque = {"name": "a", "namespace": "shop", "uid": "u"}
    copy.take_events(
        [
            line(event("ADDED", {"metadata": {**opaque, "resourceVersion": "x"}, "value": "1"})),
            line(event("MODIFIED", {"metadata": {**opaque, "resourceVersion": "b"}, "value": "2"})),
        ],
        0.0,
    )
    assert (copy.get(("shop", "a")), copy.position) == ("2", "b")


def test_only_so_many_deletions_are_remembered() -> None:
    copy, _ = mirror()
    lists(copy, 1)
    copy.take_events([line(event("DELETED", thing(f"n{n}", n))) for n in range(5, 3000)], 0.0)
    assert len(copy._store._deleted) == 1000  # noqa: SLF001 - nothing else shows that memory is bounded

"""Reads the scenarios of this project, `scenarios/*.yaml`; their form is described in scenarios/README.md."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import Struct

from controller.objects.kinds import Protocol
from tests.conformance.manifests import namespace, pod, policy
from tests.conformance.scenario import Manifest, ObjectKey, Pair, Probe, Scenario, Step, Suite, slug

FOLDER = Path(__file__).parents[1] / "scenarios"
PORTS = {"http": 8080, "metrics": 9100}
CELLS = {".": True, "X": False}


class StatedStep(Struct, frozen=True, forbid_unknown_fields=True):
    """A step as written."""

    expect: dict[str, str]
    apply: dict[str, dict[str, Any]] = {}
    delete: list[str] = []
    relabel: dict[str, dict[str, str]] = {}


class StatedScenario(Struct, frozen=True, forbid_unknown_fields=True):
    """A scenario as written."""

    title: str
    upstream: str
    pods: list[str] | dict[str, str]
    steps: list[StatedStep]
    context: str = "TCP"

    @property
    def addresses(self) -> dict[str, str]:
        """The address of each pod; made up where none matters."""
        if isinstance(self.pods, dict):
            return self.pods
        return {key: f"10.9.0.{10 + index}" for index, key in enumerate(self.pods)}


def stated() -> list[StatedScenario]:
    """Every scenario as written, file by file."""
    documents = (yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml")))
    return [scenario for document in documents for scenario in msgspec.convert(document, list[StatedScenario])]


def suite() -> Suite:
    """Every scenario, ready to be judged."""
    return Suite("own scenarios", tuple(_scenario(each) for each in stated()))


def _scenario(written: StatedScenario) -> Scenario:
    pods = written.addresses
    spaces = dict.fromkeys(key.split("/")[0] for key in pods)
    start = Step(apply=(*map(namespace, spaces), *(_pod(key, {"app": _name(key)}, pods[key]) for key in pods)))
    return Scenario(slug(written.title), (start, *(_step(step, pods) for step in written.steps)))


def _step(written: StatedStep, pods: Mapping[str, str]) -> Step:
    return Step(
        delete=tuple(_policy_key(key) for key in written.delete),
        apply=(
            *(policy(key, spec) for key, spec in written.apply.items()),
            *(_relabelled(what, labels, pods) for what, labels in written.relabel.items()),
        ),
        probes=tuple(_probes(written.expect, pods)),
    )


def _policy_key(key: str) -> ObjectKey:
    space, name = key.split("/")
    return "NetworkPolicy", space, name


def _relabelled(what: str, labels: Mapping[str, str], pods: Mapping[str, str]) -> Manifest:
    kind, key = what.split()
    return {"pod": lambda: _pod(key, labels, pods[key]), "namespace": lambda: namespace(key, labels)}[kind]()


def _pod(key: str, labels: Mapping[str, str], address: str) -> Manifest:
    ports = [
        {
            "name": name if protocol is Protocol.TCP else f"{name}-{protocol.name.lower()}",
            "containerPort": number,
            "protocol": protocol.name,
        }
        for name, number in PORTS.items()
        for protocol in Protocol
    ]
    return pod(key, labels, address, ports)


def _name(key: str) -> str:
    return key.split("/")[1]


def _probes(expect: Mapping[str, str], pods: Mapping[str, str]) -> Iterator[Probe]:
    for ports, table in expect.items():
        verdicts = read_table(table)
        if {name for pair in verdicts for name in pair} != set(pods):
            raise ValueError(f"the table of {ports} is not about the pods of the scenario")
        for port in ports.split():
            number, protocol = port.split("/")
            yield Probe(Protocol[protocol], int(number), verdicts)


def read_table(table: str) -> dict[Pair, bool]:
    """The verdicts of a table. Raises ValueError where rows and columns differ, or the diagonal is not where `#` is."""
    header, *lines = (line.split() for line in table.splitlines())
    columns = header[1:]
    if columns != [line[0] for line in lines]:
        raise ValueError(f"the rows of a table are not its columns {columns}")
    cells = {
        (row, column): cell
        for row, *cells in lines
        for column, cell in zip(columns, cells, strict=True)
    }
    if {pair for pair, cell in cells.items() if cell == "#"} != {(name, name) for name in columns}:
        raise ValueError("a pod is not judged against itself, and only against itself")
    return {pair: CELLS[cell] for pair, cell in cells.items() if cell != "#"}

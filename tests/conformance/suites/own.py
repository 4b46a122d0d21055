"""Reads the scenarios of this project, `scenarios/*.yaml`; their form is described in scenarios/README.md."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import Struct

from controller.objects.kinds import Protocol
from tests.conformance.manifests import namespace, pod, policy, policy_key
from tests.conformance.scenario import CELLS, Manifest, Pair, Probe, Scenario, Step, Suite, slug

FOLDER = Path(__file__).parents[1] / "scenarios"
PORTS = {"http": 8080, "metrics": 9100}


class StatedStep(Struct, frozen=True, forbid_unknown_fields=True):
    """A step as written."""

    expect: dict[str, str]
    apply: dict[str, dict[str, Any]] = {}
    delete: list[str] = []
    relabel: dict[str, dict[str, str]] = {}


class StatedScenario(Struct, frozen=True, forbid_unknown_fields=True):
    """A scenario as written. `upstream` is "" where it goes beyond the upstream tests."""

    title: str
    pods: list[str] | dict[str, str]
    steps: list[StatedStep]
    upstream: str = ""
    context: str = "TCP"
    ports: dict[str, dict[str, int]] = {}

    @property
    def addresses(self) -> dict[str, str]:
        """The address of each pod; made up where none matters."""
        if isinstance(self.pods, dict):
            return self.pods
        return {key: f"10.9.0.{10 + index}" for index, key in enumerate(self.pods)}

    def pod(self, key: str, labels: Mapping[str, str]) -> Manifest:
        """One of its pods with some labels."""
        ports = [
            {
                "name": name if protocol is Protocol.TCP else f"{name}-{protocol.name.lower()}",
                "containerPort": number,
                "protocol": protocol.name,
            }
            for name, number in (PORTS | self.ports.get(key, {})).items()
            for protocol in Protocol
        ]
        return pod(key, labels, self.addresses[key], ports)


def stated() -> list[StatedScenario]:
    """Every scenario as written, file by file."""
    documents = (yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml")))
    return [
        scenario for document in documents for scenario in msgspec.convert(document, list[StatedScenario])
    ]


def suite() -> Suite:
    """The scenarios that restate an upstream test."""
    return Suite("own scenarios", tuple(_scenario(each) for each in stated() if each.upstream))


def beyond() -> Suite:
    """The scenarios about what the upstream tests leave open."""
    return Suite(
        "own scenarios beyond upstream", tuple(_scenario(each) for each in stated() if not each.upstream)
    )


def _scenario(written: StatedScenario) -> Scenario:
    spaces = dict.fromkeys(key.split("/")[0] for key in written.pods)
    pods = (written.pod(key, {"app": key.split("/")[1]}) for key in written.pods)
    start = Step(apply=(*map(namespace, spaces), *pods))
    return Scenario(slug(written.title), (start, *(_step(step, written) for step in written.steps)))


def _step(step: StatedStep, written: StatedScenario) -> Step:
    policies = (policy(key, spec) for key, spec in step.apply.items())
    relabelled = (_relabelled(what, labels, written) for what, labels in step.relabel.items())
    return Step(
        delete=tuple(policy_key(key) for key in step.delete),
        apply=(*policies, *relabelled),
        probes=tuple(_probes(step.expect, written.pods)),
    )


def _relabelled(what: str, labels: Mapping[str, str], written: StatedScenario) -> Manifest:
    kind, key = what.split()
    match kind:
        case "pod":
            return written.pod(key, labels)
        case "namespace":
            return namespace(key, labels)
        case _:
            raise ValueError(f"a {kind} cannot be relabelled")


def _probes(expect: Mapping[str, str], pods: Collection[str]) -> Iterator[Probe]:
    for ports, table in expect.items():
        verdicts = read_table(table)
        if {name for pair in verdicts for name in pair} != set(pods):
            raise ValueError(f"the table of {ports} is not about the pods of the scenario")
        for port in ports.split():
            number, protocol = port.split("/")
            yield Probe(Protocol[protocol], int(number), verdicts)


def read_table(table: str) -> dict[Pair, bool]:
    """The verdicts of a table. Raises ValueError where rows and columns differ or `#` is not the diagonal."""
    header, *lines = (line.split() for line in table.splitlines())
    columns = header[1:]
    if columns != [line[0] for line in lines]:
        raise ValueError(f"the rows of a table are not its columns {columns}")
    cells = {
        (row, column): cell for row, *cells in lines for column, cell in zip(columns, cells, strict=True)
    }
    if {pair for pair, cell in cells.items() if cell == "#"} != {(name, name) for name in columns}:
        raise ValueError("a pod is not judged against itself, and only against itself")
    return {pair: CELLS[cell] for pair, cell in cells.items() if cell != "#"}

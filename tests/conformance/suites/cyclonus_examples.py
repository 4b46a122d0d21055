"""Two examples of cyclonus whose output is stored with it: a truth table, and verdicts on single connections.

Both are about the policies of `networkpolicies/simple-example`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from controller.objects.kinds import Protocol
from tests.conformance.manifests import namespace, pod
from tests.conformance.scenario import CELLS, Manifest, Pair, Probe, Scenario, Step, Suite
from tests.conformance.suites.upstream import FOLDER, absence, load

NAME = "cyclonus examples"
ORIGINAL = FOLDER / "cyclonus" / "original"
EXAMPLES = ORIGINAL / "examples"

_TABLE = re.compile(r"^Combined:\n((?:[|+].*\n)+)", re.MULTILINE)
_VERDICT = re.compile(r"\| IS ALLOWED\? \| +(TRUE|FALSE) ")


def suite() -> Suite:
    """The examples, or why there are none."""
    missing = absence(NAME, ORIGINAL)
    if missing:
        return Suite(NAME, absent=missing)
    return Suite(NAME, (_truth_table(), *_single_connections()))


def _policies() -> tuple[Manifest, ...]:
    return tuple(
        load(path) for path in sorted((ORIGINAL / "networkpolicies" / "simple-example").glob("*.yaml"))
    )


def _truth_table() -> Scenario:
    example = load(EXAMPLES / "probe.json")
    spaces = tuple(namespace(name, labels) for name, labels in example["Resources"]["Namespaces"].items())
    # In the example pods of y and z share addresses, at which cyclonus never looks; here each has its own.
    pods = tuple(
        _probed_pod(each, f"192.168.1.{8 + index}") for index, each in enumerate(example["Resources"]["Pods"])
    )
    tables = _TABLE.findall((EXAMPLES / "cyclonus-output" / "analyze-probe.txt").read_text())
    # A table without rows follows those of the probes.
    probes = (_probe(probe, table) for probe, table in zip(example["Probes"], tables, strict=False))
    return Scenario("probe", (Step(apply=(*spaces, *pods, *_policies()), probes=tuple(probes)),))


def _probed_pod(each: Mapping[str, Any], address: str) -> Manifest:
    ports = [
        {"name": port["PortName"], "containerPort": port["Port"], "protocol": port["Protocol"].upper()}
        for port in each["Containers"]
    ]
    return pod(f"{each['Namespace']}/{each['Name']}", each["Labels"], address, ports)


def _probe(probe: Mapping[str, Any], table: str) -> Probe:
    return Probe(Protocol[probe["Protocol"]], probe["Port"], dict(_verdicts(table)))


def _verdicts(table: str) -> Iterator[tuple[Pair, bool]]:
    """What a drawn table says of two pods, where the destination serves the port (`N` where it does not)."""
    header, *rows = (
        [cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line[0] == "|"
    )
    destinations = [name.lower() for name in header[1:]]
    for source, *cells in rows:
        for destination, cell in zip(destinations, cells, strict=True):
            if source != destination and cell in CELLS:
                yield (source, destination), CELLS[cell]


def _single_connections() -> Iterator[Scenario]:
    queries = load(EXAMPLES / "traffic.json")
    output = (EXAMPLES / "cyclonus-output" / "analyze-query-traffic.txt").read_text()
    for index, (query, allowed) in enumerate(zip(queries, _VERDICT.findall(output), strict=True), 1):
        yield _connection(f"traffic-{index}", query, allowed=allowed == "TRUE")


def _connection(name: str, query: Mapping[str, Any], *, allowed: bool) -> Scenario:
    sides = {"source": query["Source"], "destination": query["Destination"]}
    inside = {side: each for side, each in sides.items() if each.get("Internal")}
    spaces = {each["Internal"]["Namespace"]: each["Internal"]["NamespaceLabels"] for each in inside.values()}
    ends = {side: each["IP"] for side, each in sides.items()}
    ends |= {side: f"{each['Internal']['Namespace']}/{side}" for side, each in inside.items()}
    objects = (
        *(namespace(space, labels) for space, labels in spaces.items()),
        *(pod(ends[side], each["Internal"]["PodLabels"], each["IP"]) for side, each in inside.items()),
        *_policies(),
    )
    probe = Probe(
        Protocol[query["Protocol"]], query["ResolvedPort"], {(ends["source"], ends["destination"]): allowed}
    )
    return Scenario(name, (Step(apply=objects, probes=(probe,)),))

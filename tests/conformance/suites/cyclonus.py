"""The generated test cases of cyclonus (mattfenwick/cyclonus, pkg/generator), transcribed to data."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from controller.objects.kinds import Protocol
from tests.conformance.manifests import namespace, pod
from tests.conformance.scenario import CELLS, Manifest, ObjectKey, Pair, Probe, Scenario, Step, Suite, slug
from tests.conformance.suites.upstream import FOLDER, absence, load

NAME = "cyclonus"


def suite() -> Suite:
    """All cases, or why there are none."""
    missing = absence(NAME, FOLDER / NAME)
    if missing:
        return Suite(NAME, absent=missing)
    data = load(FOLDER / NAME / "generated-cases.yaml")
    resources = _Resources(data["resources"])
    return Suite(NAME, tuple(_scenario(case, resources) for case in data["cases"]))


class _Resources:
    """The pods that every case begins with, and the addresses of those that come later."""

    def __init__(self, resources: Mapping[str, Any]) -> None:
        self._ports = resources["containerPorts"]
        self._addresses = {f"{each['namespace']}/{each['name']}": each["ip"] for each in resources["pods"]}
        self._addresses |= resources["createdPodIPs"]
        self.start = (
            *(namespace(name, labels) for name, labels in resources["namespaces"].items()),
            *(self.pod(f"{each['namespace']}/{each['name']}", each["labels"]) for each in resources["pods"]),
        )

    def pod(self, key: str, labels: Mapping[str, str]) -> Manifest:
        """A pod at its address, with the ports that all pods have."""
        return pod(key, labels, self._addresses[key], self._ports)


def _scenario(case: Mapping[str, Any], resources: _Resources) -> Scenario:
    name = slug(f"{case['id']:03} {case['description']}")[:110].rstrip("-")
    return Scenario(name, (Step(apply=resources.start), *(_step(step, resources) for step in case["steps"])))


def _step(step: Mapping[str, Any], resources: _Resources) -> Step:
    actions = [action for each in step["actions"] for action in each.items()]
    return Step(
        delete=tuple(key for what, value in actions if (key := _deleted(what, value)) is not None),
        apply=tuple(
            made for what, value in actions if (made := _applied(what, value, resources)) is not None
        ),
        probes=tuple(probe for each in step["expected"] for probe in _probes(each, step["columns"])),
    )


def _deleted(what: str, value: Any) -> ObjectKey | None:  # noqa: ANN401  each action has its own form
    kind = {"deletePolicy": "NetworkPolicy", "deletePod": "Pod", "deleteNamespace": "Namespace"}.get(what)
    if kind is None:
        return None
    space, _, name = value.rpartition("/")
    return kind, space, name


def _applied(what: str, value: Any, resources: _Resources) -> Manifest | None:  # noqa: ANN401  as above
    match what:
        case "createPolicy" | "updatePolicy":
            return {**value}
        case "createNamespace" | "setNamespaceLabels":
            return namespace(value["name"], value["labels"])
        case "createPod":
            return resources.pod(f"{value['namespace']}/{value['name']}", value["labels"])
        case "setPodLabels":
            return resources.pod(value["pod"], value["labels"])
        case "deletePolicy" | "deletePod" | "deleteNamespace":
            return None
        case _:
            raise ValueError(f"unknown action {what}")


def _probes(expected: Mapping[str, Any], columns: Sequence[str]) -> Iterator[Probe]:
    verdicts = dict(_verdicts(expected["table"], columns))
    for probe in expected["probes"]:
        protocol, port = probe.split("/")
        yield Probe(Protocol[protocol], int(port), verdicts)


def _verdicts(table: str, columns: Sequence[str]) -> Iterator[tuple[Pair, bool]]:
    for line in table.splitlines():
        source, cells = line.split()
        for destination, cell in zip(columns, cells, strict=True):
            if cell != "#":
                yield (source, destination), CELLS[cell]

"""ahmetb/kubernetes-network-policy-recipes: each policy with what its "Try it out" section shows."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from controller.objects.kinds import Protocol
from tests.conformance.manifests import namespace, pod
from tests.conformance.scenario import Manifest, Probe, Scenario, Step, Suite
from tests.conformance.suites.upstream import FOLDER, absence, load

NAME = "kubernetes-network-policy-recipes"


def suite() -> Suite:
    """All recipes, or why there are none."""
    missing = absence(NAME, FOLDER / NAME)
    if missing:
        return Suite(NAME, absent=missing, unit="probes")
    expected = load(FOLDER / NAME / "expected.yaml")
    spaces = tuple(namespace(name, labels) for name, labels in expected["namespaces"].items())
    return Suite(NAME, tuple(_scenario(case, spaces) for case in expected["cases"]), unit="probes")


def _scenario(case: Mapping[str, Any], spaces: tuple[Manifest, ...]) -> Scenario:
    policies = tuple(load(FOLDER / NAME / "policies" / name) for name in case["policies"])
    ends = [end for probe in case["probes"] for end in (probe["from"], probe["to"])]
    pods = {_end(end): end["labels"] for end in ends if "ip" not in end}
    running = (pod(key, labels, f"10.8.0.{index}") for index, (key, labels) in enumerate(pods.items(), 1))
    step = Step(apply=(*spaces, *running, *policies), probes=tuple(_probes(case["probes"])))
    return Scenario("+".join(Path(name).stem for name in case["policies"]), (step,))


def _end(end: Mapping[str, Any]) -> str:
    """The pod of a namespace and labels, named after both; an address as it is."""
    if "ip" in end:
        return str(end["ip"])
    return f"{end['namespace']}/{'-'.join(part for pair in end['labels'].items() for part in pair)}"


def _probes(probes: list[Mapping[str, Any]]) -> Iterator[Probe]:
    for probe in probes:
        pair = _end(probe["from"]), _end(probe["to"])
        yield Probe(Protocol[probe["protocol"]], probe["port"], {pair: probe["allowed"]})

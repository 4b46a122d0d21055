"""The Kubernetes end-to-end tests of NetworkPolicy, test/e2e/network/netpol, transcribed to data."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any

from controller.objects.kinds import Protocol
from tests.conformance.manifests import namespace, pod, policy_key
from tests.conformance.scenario import Manifest, Probe, Scenario, Step, Suite, slug
from tests.conformance.suites.upstream import FOLDER, absence, load

NAME = "k8s-e2e-netpol"


def suite() -> Suite:
    """All tests, or why there are none."""
    missing = absence(NAME, FOLDER / NAME)
    if missing:
        return Suite(NAME, absent=missing)
    data = load(FOLDER / NAME / "tests.yaml")
    return Suite(NAME, tuple(_scenario(test, data) for test in data["tests"]))


def titles() -> list[tuple[str, str]]:
    """(context, title) of every test. Raises OSError where the data is not there."""
    return [(test["context"], test["name"]) for test in load(FOLDER / NAME / "tests.yaml")["tests"]]


def _scenario(test: Mapping[str, Any], data: Mapping[str, Any]) -> Scenario:
    pods = {
        key: pod(key, each["labels"], each["ip"], data["containerPorts"])
        for key, each in test["pods"].items()
    }
    spaces = (namespace(name, labels) for name, labels in data["namespaces"].items())
    steps = (_step(step, pods, data["namespaces"]) for step in test["steps"])
    name = slug(f"{test['context']} {test['name']}")
    return Scenario(name, (Step(apply=(*spaces, *pods.values())), *steps))


def _step(
    step: Mapping[str, Any], pods: Mapping[str, Manifest], namespaces: Mapping[str, Mapping[str, str]]
) -> Step:
    return Step(
        delete=tuple(policy_key(key) for key in step.get("delete", ())),
        apply=(
            *step.get("apply", ()),
            *step.get("update", ()),
            *_relabelled(step.get("labels", {}), pods, namespaces),
        ),
        probes=tuple(_probe(probe, list(pods)) for probe in step["probes"]),
    )


def _relabelled(
    changes: Mapping[str, Mapping[str, str]],
    pods: Mapping[str, Manifest],
    namespaces: Mapping[str, Mapping[str, str]],
) -> Iterator[Manifest]:
    for what, labels in changes.items():
        kind, key = what.split()
        if kind == "namespace":
            yield namespace(key, {**namespaces[key], **labels})
        else:
            yield {**pods[key], "metadata": {**pods[key]["metadata"], "labels": labels}}


def _probe(probe: Mapping[str, Any], pods: Sequence[str]) -> Probe:
    """Every ordered pair of pods connects but those that are listed."""
    denied: Iterable[Sequence[str]] = probe["denied"]
    closed = {(source, destination) for source, destination in denied}
    expected = {pair: pair not in closed for pair in permutations(pods, 2)}
    if not closed <= expected.keys():
        raise ValueError(f"denied pairs of unknown pods: {closed - expected.keys()}")
    return Probe(Protocol[probe["protocol"]], probe["port"], expected)

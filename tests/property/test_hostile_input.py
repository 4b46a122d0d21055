"""Whatever is done to a policy: reading it never raises, says what is wrong, and never allows more.

The meaning of a decoded policy is stated here once more, in a few lines over a handful of pods and addresses,
so that "allows more" is measured on what the engine would be given and not by the engine itself.
"""

import copy
import itertools
from collections.abc import Iterator
from typing import Any

from hypothesis import assume, given, reject
from hypothesis import strategies as st

from controller.objects.addresses import parse_address
from controller.objects.assembly import build_cluster
from controller.objects.decode_policy import decode_policy
from controller.objects.documents import Document, parse_documents
from controller.objects.findings import Severity
from controller.objects.kinds import Direction, NetworkPolicy, Peer, PolicyPort

Path = tuple[str | int, ...]
Labels = dict[str, str]
Other = str | tuple[tuple[str, Labels], Labels]
"""An address outside, or a pod as its namespace (name, labels) and its labels."""
Port = tuple[int, int, str]
"""Protocol, number and name, as a pod has it."""

SPEC: dict[str, Any] = {
    "podSelector": {
        "matchLabels": {"app": "web"},
        "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["db", "cache"]}],
    },
    "policyTypes": ["Ingress", "Egress"],
    "ingress": [
        {
            "from": [
                {
                    "podSelector": {"matchLabels": {"app": "api"}},
                    "namespaceSelector": {"matchLabels": {"env": "prod"}},
                },
                {
                    "podSelector": {
                        "matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["api"]}]
                    }
                },
                {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.2.0.0/16"]}},
            ],
            "ports": [{"protocol": "TCP", "port": 80, "endPort": 90}, {"protocol": "UDP", "port": "dns"}],
        },
        {"from": [{"namespaceSelector": {"matchExpressions": [{"key": "env", "operator": "Exists"}]}}]},
    ],
    "egress": [{"to": [{"podSelector": {"matchLabels": {"app": "db"}}}], "ports": [{"port": 5432}]}],
}
POLICY: dict[str, Any] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": SPEC,
}

LABELS: tuple[Labels, ...] = tuple(
    {key: value for key, value in zip(("app", "tier"), pair, strict=True) if value}
    for pair in itertools.product(("", "web", "api", "db"), ("", "db", "front"))
)
NAMESPACES: tuple[tuple[str, Labels], ...] = (
    ("shop", {}),
    ("prod", {"env": "prod"}),
    ("dev", {"env": "dev"}),
)
ADDRESSES = ("10.0.0.1", "10.1.0.1", "10.2.0.1", "11.0.0.1", "fd00::1")
PORTS: tuple[Port, ...] = (
    (6, 80, ""),
    (6, 85, "http"),
    (6, 5432, ""),
    (6, 9, ""),
    (17, 53, "dns"),
    (132, 80, ""),
)
PAIRS: tuple[tuple[Direction, Labels, Other, Port], ...] = tuple(
    itertools.product(
        Direction,
        LABELS,
        [*itertools.product(NAMESPACES, LABELS), *ADDRESSES],
        PORTS,
    )
)


def allows(policy: NetworkPolicy, direction: Direction, subject: Labels, other: Other, port: Port) -> bool:
    """Whether a policy alone lets a pod of shop talk to another pod or address (rules 2.6 to 2.16)."""
    if direction not in policy.directions or not policy.pod_selector.matches(subject):
        return True
    return any(
        (rule.peers is None or any(matches_peer(peer, policy, other) for peer in rule.peers))
        and (rule.ports is None or any(matches_port(item, port) for item in rule.ports))
        for rule in policy.rules(direction)
    )


def matches_peer(peer: Peer, policy: NetworkPolicy, other: Other) -> bool:
    if peer.ip_block is not None:
        if not isinstance(other, str):
            return False
        family, value = parse_address(other)
        cidr = peer.ip_block.cidr
        inside = cidr.family == family and cidr.first <= value <= cidr.last
        return inside and not any(hole.first <= value <= hole.last for hole in peer.ip_block.excepts)
    if isinstance(other, str):
        return False
    (namespace, namespace_labels), labels = other
    if peer.namespace_selector is None:
        right_namespace = namespace == policy.namespace
    else:
        right_namespace = peer.namespace_selector.matches(namespace_labels)
    return right_namespace and (peer.pod_selector is None or peer.pod_selector.matches(labels))


def matches_port(item: PolicyPort, port: Port) -> bool:
    protocol, number, name = port
    if item.protocol != protocol:
        return False
    if isinstance(item.port, str):
        return item.port == name
    return item.port is None or item.port <= number <= (item.end_port or item.port)


def allowed(policy: NetworkPolicy) -> frozenset[int]:
    """Everything that a policy allows, as places in PAIRS."""
    return frozenset(place for place, pair in enumerate(PAIRS) if allows(policy, *pair))


ALLOWED = allowed(decode_policy(POLICY))


def places(value: object, path: Path = ()) -> Iterator[Path]:
    """The path of every node below a value."""
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


def at(value: Any, path: Path) -> Any:  # noqa: ANN401 (a manifest is anything)
    for step in path:
        value = value[step]
    return value


def replaced(path: Path, value: object) -> dict[str, Any]:
    result = copy.deepcopy(POLICY)
    at(result, path[:-1])[path[-1]] = value
    return result


def field_path(path: Path) -> str:
    """The path as findings write it."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) or text.endswith("matchLabels") else f".{step}"
    return text.removeprefix(".")


def is_around(outer: str, inner: str) -> bool:
    return inner == outer or inner.startswith((f"{outer}.", f"{outer}["))


EVERYWHERE = tuple(places(POLICY))
IN_SPEC = tuple(path for path in EVERYWHERE if path[0] == "spec")

scalars = st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
values = st.recursive(
    scalars | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
filled_lists = st.lists(values, min_size=1, max_size=3)
filled_mappings = st.dictionaries(st.text(max_size=8), values, min_size=1, max_size=3)


def of_a_wrong_type(path: Path) -> st.SearchStrategy[Any]:
    """Values of a type that can never stand at a place. null is none: it means that the field is missing."""
    there = at(POLICY, path)
    if isinstance(there, dict):
        return st.one_of(scalars, filled_lists)
    if isinstance(there, list):
        return st.one_of(scalars, filled_mappings)
    not_scalar = st.one_of(st.booleans(), filled_lists, filled_mappings)
    return (
        not_scalar
        if path[-1] == "port"
        else st.one_of(not_scalar, st.floats(allow_nan=False).filter(lambda x: x % 1))
    )


wrong_types = st.sampled_from(IN_SPEC).flatmap(lambda path: st.tuples(st.just(path), of_a_wrong_type(path)))


@given(wrong_types)
def test_a_value_of_the_wrong_type_never_allows_more(change: tuple[Path, Any]) -> None:
    assert allowed(decode_policy(replaced(*change))) <= ALLOWED


@given(wrong_types)
def test_a_value_of_the_wrong_type_is_an_error_that_names_object_and_field(change: tuple[Path, Any]) -> None:
    path, value = change
    found = [
        item for item in decode_policy(replaced(path, value)).findings if item.severity is Severity.ERROR
    ]
    assert {item.object for item in found} == {"NetworkPolicy shop/web"}
    assert any(
        is_around(item.path, field_path(path)) or is_around(field_path(path), item.path) for item in found
    )


@given(wrong_types, wrong_types)
def test_two_values_of_wrong_types_never_allow_more(
    first: tuple[Path, Any], second: tuple[Path, Any]
) -> None:
    data = replaced(*first)
    try:
        at(data, second[0][:-1])[second[0][-1]] = second[1]
    except (KeyError, IndexError, TypeError):
        reject()
    assert allowed(decode_policy(data)) <= ALLOWED


@given(st.sampled_from(EVERYWHERE), values)
def test_any_value_anywhere_is_read_without_an_exception(path: Path, value: object) -> None:
    policy = decode_policy(replaced(path, value))
    assert policy.directions
    assert all(str(finding).isprintable() for finding in policy.findings)
    assert (policy.namespace + policy.name).isprintable()


@given(st.sampled_from([path for path in EVERYWHERE if isinstance(path[-1], str)]), st.text(max_size=12))
def test_a_renamed_field_is_reported(path: Path, name: str) -> None:
    assume(name != path[-1])
    data = copy.deepcopy(POLICY)
    parent = at(data, path[:-1])
    assume(name not in parent)
    parent[name] = parent.pop(path[-1])
    assert (
        decode_policy(data).findings or path[-2] == "matchLabels" or name in {"annotations", "status", "uid"}
    )


@given(st.sampled_from(EVERYWHERE))
def test_a_removed_field_is_read_without_an_exception(path: Path) -> None:
    data = copy.deepcopy(POLICY)
    del at(data, path[:-1])[path[-1]]
    assert decode_policy(data).directions


kinds = st.sampled_from(
    ["NetworkPolicy", "Pod", "Namespace", "Node", "Deployment", "CronJob", "Job", "List", "Service", "pod"]
)
metadata = st.fixed_dictionaries(
    {},
    optional={
        "name": values,
        "namespace": values,
        "labels": values,
        "annotations": values,
        "ownerReferences": st.lists(
            st.dictionaries(st.sampled_from(["kind", "name", "controller"]), values) | values
        ),
    },
)
objects = st.fixed_dictionaries(
    {"kind": kinds | values},
    optional={
        "apiVersion": st.sampled_from(["v1", "apps/v1", "batch/v1", "networking.k8s.io/v1"]) | values,
        "metadata": metadata | values,
        "spec": st.dictionaries(
            st.sampled_from(
                ["template", "selector", "containers", "podCIDRs", "jobTemplate", "ingress", "podSelector"]
            ),
            values,
        )
        | values,
        "status": st.dictionaries(st.sampled_from(["podIP", "podIPs", "phase", "addresses"]), values)
        | values,
    },
)


@given(st.lists(objects, max_size=6))
def test_any_objects_make_a_cluster(items: list[dict[str, Any]]) -> None:
    assembly = build_cluster(Document(item) for item in items)
    cluster = assembly.cluster
    assert {pod.namespace for pod in cluster.pods} <= {namespace.name for namespace in cluster.namespaces}
    assert len({pod.key for pod in cluster.pods}) == len(cluster.pods)
    assert all(str(finding).isprintable() for finding in assembly.findings)


@given(st.text() | st.text("{}[]:,-?&*!|>'\"%@` \n\t#<a1"))
def test_any_text_is_read_without_an_exception(text: str) -> None:
    _, findings = parse_documents(text, "any.yaml")
    assert all(str(finding).isprintable() for finding in findings)


@given(st.binary())
def test_any_bytes_are_read_without_an_exception(content: bytes) -> None:
    _, findings = parse_documents(content.decode("utf-8", "surrogateescape"), "any.yaml")
    assert all(str(finding).isprintable() for finding in findings)

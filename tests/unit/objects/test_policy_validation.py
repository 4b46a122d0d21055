"""What the API server refuses (rule 2.70), letter by letter: reported with its path, never a wider policy."""

from typing import Any

import pytest

from controller.objects.codes import UNREADABLE
from controller.objects.findings import Severity
from controller.objects.kinds import Direction, Protocol
from controller.objects.labels import EVERYTHING, LabelSelector
from tests.unit.objects.writing import error_at, errors, ingress_policy, peers, policy, ports

BOTH = (Direction.INGRESS, Direction.EGRESS)
NO_VALUES: list[Any] = [None, []]
WRONG_TYPES = [5, True, 1.5, "text", [5], {"a": "b"}]


def not_a(*kinds: type) -> list[Any]:
    """Values of every type but these."""
    return [value for value in WRONG_TYPES if type(value) not in kinds]


# Rule 2.70 a, metadata.


@pytest.mark.parametrize("name", ["Web", "a_b", "-a", "x" * 254, "we\nb", 'we"b', "../etc"])
def test_a_bad_name_is_an_error_and_the_policy_isolates_all_the_same(name: str) -> None:
    found = policy({}, name=name)
    assert errors(found) == [("invalid-name", "metadata.name")]
    assert found.directions == (Direction.INGRESS,)
    assert found.name.isprintable()


@pytest.mark.parametrize("name", [None, ""])
def test_a_missing_name_is_an_error(name: object) -> None:
    found = policy({}, name=name)
    assert errors(found) == [("missing-name", "metadata.name")]
    assert found.name == "<unnamed>"


def test_a_generated_name_is_no_error() -> None:
    found = policy({}, name=None, generateName="web-")
    assert (found.name, found.findings) == ("web-<generated>", ())


@pytest.mark.parametrize("name", not_a(str))
def test_a_name_of_the_wrong_type_is_an_error(name: object) -> None:
    assert errors(policy({}, name=name)) == [("wrong-type", "metadata.name")]


def test_a_name_of_ten_megabytes_is_cut() -> None:
    found = policy({}, name="x" * 10_000_000)
    assert len(found.name) < 100
    assert all(len(str(finding)) < 500 for finding in found.findings)


@pytest.mark.parametrize("namespace", ["a.b", "Shop", "x" * 64, "a\nb"])
def test_a_bad_namespace_is_an_error_and_kept_apart(namespace: str) -> None:
    found = policy({}, namespace=namespace)
    assert [code for code, _ in errors(found)] == ["invalid-namespace", "unknown-namespace"]
    assert found.namespace not in {"default", ""}
    assert found.namespace.isprintable()


@pytest.mark.parametrize("namespace", not_a(str))
def test_a_namespace_of_the_wrong_type_is_taken_as_default(namespace: object) -> None:
    found = policy({}, namespace=namespace)
    assert [code for code, _ in errors(found)] == ["wrong-type", "unknown-namespace"]
    assert found.namespace == "default"


def test_a_policy_of_an_unknown_namespace_leaves_every_verdict_open() -> None:
    assert "unknown-namespace" in UNREADABLE


@pytest.mark.parametrize(
    ("field", "value", "code", "path"),
    [
        ("labels", {"-a": "b"}, "invalid-label", "metadata.labels[-a]"),
        ("labels", {"a": "b c"}, "invalid-label", "metadata.labels[a]"),
        ("labels", {"a": 5}, "wrong-type", "metadata.labels[a]"),
        ("labels", [], "wrong-type", "metadata.labels"),
        ("annotations", {"a b": ""}, "invalid-label", "metadata.annotations[a b]"),
        ("annotations", {"a": True}, "wrong-type", "metadata.annotations[a]"),
        ("annotations", "x", "wrong-type", "metadata.annotations"),
    ],
)
def test_bad_labels_and_annotations_of_the_policy_are_errors(
    field: str, value: object, code: str, path: str
) -> None:
    assert errors(policy({}, **{field: value})) == [(code, path)]


@pytest.mark.parametrize("metadata", WRONG_TYPES[:-1])
def test_unreadable_metadata_leaves_a_policy_that_isolates(metadata: object) -> None:
    from controller.objects.decode_policy import decode_policy  # noqa: PLC0415 (without the helper's metadata)

    found = decode_policy(
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata}
    )
    assert errors(found) == [("wrong-type", "metadata"), ("unknown-namespace", "metadata.namespace")]
    assert (found.key, found.directions) == (("default", "<unnamed>"), (Direction.INGRESS,))


# Rule 2.70 b, selectors.

BAD_SELECTORS: list[tuple[Any, str]] = [
    *((value, "") for value in not_a(dict)),
    *(({"matchLabels": value}, ".matchLabels") for value in not_a(dict)),
    *(({"matchLabels": {"app": value}}, ".matchLabels[app]") for value in not_a(str)),
    ({"matchLabels": {"app": "a b"}}, ".matchLabels[app]"),
    ({"matchLabels": {"app": "x" * 64}}, ".matchLabels[app]"),
    ({"matchLabels": {"-app": "a"}}, ".matchLabels[-app]"),
    ({"matchLabels": {"": "a"}}, ".matchLabels[]"),
    *(({"matchExpressions": value}, ".matchExpressions") for value in not_a(list)),
    *(({"matchExpressions": [value]}, ".matchExpressions[0]") for value in [None, *not_a(dict)]),
    *(
        ({"matchExpressions": [{"key": key, "operator": "Exists"}]}, ".matchExpressions[0].key")
        for key in [None, "", "-a", "a/b/c", *not_a(str)]
    ),
    *(
        ({"matchExpressions": [{"key": "a", "operator": operator}]}, ".matchExpressions[0].operator")
        for operator in [None, "", "in", "Equals", *not_a(str)]
    ),
    *(
        (
            {"matchExpressions": [{"key": "a", "operator": operator, "values": values}]},
            ".matchExpressions[0].values",
        )
        for operator in ("In", "NotIn")
        for values in NO_VALUES
    ),
    *(
        (
            {"matchExpressions": [{"key": "a", "operator": operator, "values": ["b"]}]},
            ".matchExpressions[0].values",
        )
        for operator in ("Exists", "DoesNotExist")
    ),
    *(
        (
            {"matchExpressions": [{"key": "a", "operator": "In", "values": values}]},
            ".matchExpressions[0].values",
        )
        for values in not_a(list)
    ),
    *(
        (
            {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b", value]}]},
            ".matchExpressions[0].values[1]",
        )
        for value in [None, "a b", "x" * 64, *not_a(str)]
    ),
]


@pytest.mark.parametrize(("selector", "path"), BAD_SELECTORS)
@pytest.mark.parametrize("field", ["podSelector", "namespaceSelector"])
def test_a_peer_with_a_bad_selector_matches_nobody(field: str, selector: object, path: str) -> None:
    found = ingress_policy({"from": [{field: selector}]})
    assert found.ingress[0].peers == ()
    assert (f"spec.ingress[0].from[0].{field}{path}") in [place for _, place in errors(found)]


@pytest.mark.parametrize(("selector", "path"), BAD_SELECTORS)
def test_a_policy_with_a_bad_pod_selector_isolates_and_allows_nothing(selector: object, path: str) -> None:
    found = policy({"podSelector": selector, "ingress": [{}], "egress": [{}]})
    assert (found.directions, found.ingress, found.egress) == (BOTH, (), ())
    assert f"spec.podSelector{path}" in [place for _, place in errors(found)]


def test_a_bad_pod_selector_keeps_the_requirements_that_were_understood() -> None:
    selector = {
        "matchLabels": {"app": "web", "version": 2},
        "matchExpressions": [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "exists"}],
    }
    found = policy({"podSelector": selector})
    assert str(found.pod_selector) == "a,app=web"


def test_a_pod_selector_of_the_wrong_type_isolates_the_whole_namespace() -> None:
    assert policy({"podSelector": "app=web"}).pod_selector == EVERYTHING


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (8080, "8080"), (1.5, "1.5")])
def test_an_unquoted_label_value_is_met_with_the_remedy(value: object, text: str) -> None:
    found = policy({"podSelector": {"matchLabels": {"app": value}}})
    assert error_at(found, "spec.podSelector.matchLabels[app]").remedy == f'quote it: app: "{text}"'


# Rule 2.70 c, protocols.


@pytest.mark.parametrize("protocol", ["tcp", "ICMP", "", "Tcp", "TCP ", *not_a(str)])
def test_a_bad_protocol_leaves_a_port_that_matches_nothing(protocol: object) -> None:
    found = ingress_policy({"ports": [{"port": 80, "protocol": protocol}]})
    assert found.ingress[0].ports == ()
    assert errors(found) == [("invalid-protocol", "spec.ingress[0].ports[0].protocol")]


# Rule 2.70 d, ports.


@pytest.mark.parametrize(
    "port", [0, -1, 65536, 10**30, "80", "", "a--b", "-a", "a-", "x" * 16, "HTTP", *not_a(int, str)]
)
def test_a_bad_port_matches_nothing(port: object) -> None:
    found = ingress_policy({"ports": [{"port": port}]})
    assert found.ingress[0].ports == ()
    assert errors(found) == [("invalid-port", "spec.ingress[0].ports[0].port")]


def test_a_quoted_number_is_met_with_the_remedy() -> None:
    """Rule 2.32."""
    found = ingress_policy({"ports": [{"port": "80"}]})
    assert error_at(found, "spec.ingress[0].ports[0].port").remedy == "write it without quotes"


# Rule 2.70 e, endPort.


@pytest.mark.parametrize(
    ("port", "end"),
    [
        (None, 90),
        ("http", 90),
        (80, 79),
        (80, 65536),
        (80, 0),
        (80, -1),
        *((80, value) for value in not_a(int)),
    ],
)
def test_a_bad_range_matches_nothing(port: object, end: object) -> None:
    """Rule 2.33: not even its first port."""
    found = ingress_policy({"ports": [{"port": port, "endPort": end}]})
    assert found.ingress[0].ports == ()
    assert errors(found) == [("invalid-end-port", "spec.ingress[0].ports[0].endPort")]


# Rule 2.70 f, peers.


@pytest.mark.parametrize(
    "peer",
    [
        {},
        {"podSelector": None, "namespaceSelector": None, "ipBlock": None},
        {"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}},
        {"ipBlock": {"cidr": "10.0.0.0/8"}, "namespaceSelector": {}},
        None,
    ],
)
def test_a_peer_that_is_nothing_or_too_much_matches_nobody(peer: object) -> None:
    """Rule 2.15."""
    found = ingress_policy({"from": [peer]})
    assert found.ingress[0].peers == ()
    assert errors(found) == [("invalid-peer", "spec.ingress[0].from[0]")]


# Rule 2.70 g, ipBlock.


@pytest.mark.parametrize("cidr", [None, "", "10.0.0.0", "10.0.0.0/33", "fd00::/129", "web", *not_a(str)])
def test_a_bad_block_matches_nobody(cidr: object) -> None:
    found = ingress_policy({"from": [{"ipBlock": {"cidr": cidr}}]})
    assert found.ingress[0].peers == ()
    assert errors(found) == [("invalid-cidr", "spec.ingress[0].from[0].ipBlock.cidr")]


@pytest.mark.parametrize(
    ("cidr", "inner"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),  # equal, rule 2.22
        ("10.0.0.5/8", "10.1.2.3/8"),  # equal once host bits are gone
        ("10.0.0.0/8", "11.0.0.0/16"),
        ("10.0.0.0/16", "10.0.0.0/8"),
        ("10.0.0.0/8", "fd00::/16"),
        ("::/0", "10.0.0.0/8"),
        ("0.0.0.0/0", "::1/128"),
        ("10.0.0.0/8", ""),
        ("10.0.0.0/8", None),
        ("10.0.0.0/8", "10.0.0.1"),
        *(("10.0.0.0/8", value) for value in not_a(str)),
    ],
)
def test_a_bad_exception_takes_its_whole_peer_with_it(cidr: str, inner: object) -> None:
    """Without the exception the block would allow more."""
    found = ingress_policy({"from": [{"ipBlock": {"cidr": cidr, "except": [inner]}}]})
    assert found.ingress[0].peers == ()
    assert errors(found) == [("invalid-except", "spec.ingress[0].from[0].ipBlock.except[0]")]


@pytest.mark.parametrize("value", not_a(list))
def test_exceptions_of_the_wrong_type_take_the_peer_with_them(value: object) -> None:
    found = ingress_policy({"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": value}}]})
    assert found.ingress[0].peers == ()
    assert errors(found) == [("wrong-type", "spec.ingress[0].from[0].ipBlock.except")]


def test_good_peers_and_ports_beside_bad_ones_stay() -> None:
    assert [peer.index for peer in peers({}, {"podSelector": {}}, {"ipBlock": {"cidr": "x"}}) or ()] == [1]
    assert [port.index for port in ports({"port": 0}, {"port": 80}, {"port": "!"}) or ()] == [1]


# Rule 2.70 h, policyTypes.


@pytest.mark.parametrize(
    ("types", "path"),
    [
        (["ingress"], "spec.policyTypes[0]"),
        (["Ingress", "Both"], "spec.policyTypes[1]"),
        ([None], "spec.policyTypes[0]"),
        ([""], "spec.policyTypes[0]"),
        (["Ingress"] * 3, "spec.policyTypes"),
        *(([value], "spec.policyTypes[0]") for value in WRONG_TYPES),
    ],
)
def test_bad_policy_types_isolate_both_directions(types: object, path: str) -> None:
    found = policy({"policyTypes": types})
    assert found.directions == BOTH
    assert errors(found) == [("invalid-policy-types", path)]


@pytest.mark.parametrize("types", not_a(list))
def test_policy_types_of_the_wrong_type_isolate_both_directions(types: object) -> None:
    found = policy({"policyTypes": types})
    assert found.directions == BOTH
    assert errors(found) == [("wrong-type", "spec.policyTypes")]


# Wrong types of what holds the rest


@pytest.mark.parametrize("spec", [*not_a(dict), []])
def test_an_unreadable_spec_isolates_the_namespace_in_both_directions(spec: object) -> None:
    found = policy(spec)
    assert (found.pod_selector, found.directions) == (EVERYTHING, BOTH)
    assert (found.ingress, found.egress) == ((), ())
    assert errors(found) == [("wrong-type", "spec")]


@pytest.mark.parametrize("rules", not_a(list))
@pytest.mark.parametrize("section", ["ingress", "egress"])
def test_a_section_of_the_wrong_type_has_no_rules(section: str, rules: object) -> None:
    found = policy({section: rules, "policyTypes": ["Ingress", "Egress"]})
    assert (found.ingress, found.egress) == ((), ())
    assert errors(found) == [("wrong-type", f"spec.{section}")]


@pytest.mark.parametrize("egress", not_a(list))
def test_egress_of_the_wrong_type_isolates_egress_without_policy_types_too(egress: object) -> None:
    assert policy({"egress": egress}).directions == BOTH


def test_egress_with_a_single_bad_rule_isolates_egress() -> None:
    assert policy({"egress": [5]}).directions == BOTH


@pytest.mark.parametrize("rule", [None, *not_a(dict)])
def test_a_bad_rule_is_left_out(rule: object) -> None:
    found = ingress_policy({}, rule)
    assert [item.index for item in found.ingress] == [0]
    assert [path for _, path in errors(found)] == ["spec.ingress[1]"]


@pytest.mark.parametrize("value", not_a(list))
@pytest.mark.parametrize("field", ["from", "ports"])
def test_a_list_of_the_wrong_type_matches_nothing(field: str, value: object) -> None:
    """`from: {podSelector: ...}` without the dash is the most common of all mistakes."""
    found = ingress_policy({field: value})
    (rule,) = found.ingress
    assert (rule.peers if field == "from" else rule.ports) == ()
    assert errors(found) == [("wrong-type", f"spec.ingress[0].{field}")]


@pytest.mark.parametrize("value", not_a(dict))
@pytest.mark.parametrize("field", ["from", "ports"])
def test_an_item_of_the_wrong_type_matches_nothing(field: str, value: object) -> None:
    found = ingress_policy({field: [value]})
    (rule,) = found.ingress
    assert (rule.peers if field == "from" else rule.ports) == ()
    assert errors(found) == [("wrong-type", f"spec.ingress[0].{field}[0]")]


def test_a_missing_port_list_item_is_no_open_port() -> None:
    assert ports(None) == ()


# The rest


@pytest.mark.parametrize("version", [None, "extensions/v1beta1", "networking.k8s.io/v1beta1", "v1", 5, [1]])
def test_a_wrong_api_version_is_an_error_and_the_policy_is_read(version: object) -> None:
    from controller.objects.decode_policy import decode_policy  # noqa: PLC0415 (without the helper's version)

    data = {
        "apiVersion": version,
        "metadata": {"name": "web"},
        "spec": {"ingress": [{"ports": [{"protocol": "UDP"}]}]},
    }
    found = decode_policy(data)
    assert errors(found) == [("wrong-api-version", "apiVersion")]
    assert found.ingress[0].ports is not None
    assert found.ingress[0].ports[0].protocol is Protocol.UDP


def test_a_finding_names_object_field_value_and_remedy() -> None:
    found = ingress_policy({"from": [{"ipBlock": {"cidr": "10.0.0.0"}}]})
    assert str(error_at(found, "spec.ingress[0].from[0].ipBlock.cidr")) == (
        "error invalid-cidr: NetworkPolicy shop/web spec.ingress[0].from[0].ipBlock.cidr: "
        '"10.0.0.0" is no CIDR block; the peer matches nobody; '
        "write an address and a prefix length, as in 192.0.2.0/24 or 2001:db8::/32"
    )


def test_a_million_mistakes_are_counted_and_a_hundred_are_listed() -> None:
    found = ingress_policy({"from": [{}] * 100_000})
    assert len(found.findings) == 101
    assert found.findings[-1].code == "too-many-findings"
    assert "99900 more" in found.findings[-1].message
    assert found.ingress[0].peers == ()


def test_every_error_is_an_error_and_nothing_more() -> None:
    found = policy({"podSelector": LabelSelector, "ingress": object()})
    assert {finding.severity for finding in found.findings} == {Severity.ERROR}

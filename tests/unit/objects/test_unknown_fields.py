"""Fields that the API server drops (rule 2.63), and which of them change what a policy means."""

from typing import Any

import pytest

from controller.objects.decode_policy import decode_policy
from controller.objects.findings import Severity
from controller.objects.kinds import Direction
from controller.objects.labels import EVERYTHING
from tests.unit.objects.writing import manifest, policy

PEER = "spec.ingress[0].from[0]"


def spec_with(path: str, extra: dict[str, Any]) -> dict[str, Any]:
    """A spec with unknown fields at one place."""
    peer: dict[str, Any] = {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}
    block: dict[str, Any] = {"cidr": "10.0.0.0/8"}
    port: dict[str, Any] = {"port": 80}
    rule: dict[str, Any] = {"from": [peer, {"ipBlock": block}], "ports": [port]}
    spec: dict[str, Any] = {"podSelector": {}, "ingress": [rule]}
    places = {
        "spec": spec,
        "spec.podSelector": spec["podSelector"],
        "spec.ingress[0]": rule,
        PEER: peer,
        f"{PEER}.podSelector": peer["podSelector"],
        f"{PEER}.podSelector.matchExpressions[0]": peer["podSelector"]["matchExpressions"][0],
        "spec.ingress[0].from[1].ipBlock": block,
        "spec.ingress[0].ports[0]": port,
    }
    places[path].update(extra)
    return spec


@pytest.mark.parametrize(
    ("path", "field", "remedy"),
    [
        ("spec", "ingres", "did you mean ingress?"),
        ("spec", "policyType", "did you mean policyTypes?"),
        ("spec", "podselector", "field names are case-sensitive: write podSelector"),
        ("spec.podSelector", "app", "labels belong under matchLabels"),
        ("spec.podSelector", "matchlabels", "field names are case-sensitive: write matchLabels"),
        ("spec.ingress[0]", "form", "did you mean from?"),
        ("spec.ingress[0]", "to", "a rule of ingress has from and ports"),
        ("spec.ingress[0]", "port", "did you mean ports?"),
        (PEER, "namespaceselector", "field names are case-sensitive: write namespaceSelector"),
        (PEER, "ipblock", "field names are case-sensitive: write ipBlock"),
        (f"{PEER}.podSelector", "matchLabel", "did you mean matchLabels?"),
        (f"{PEER}.podSelector.matchExpressions[0]", "value", "did you mean values?"),
        ("spec.ingress[0].from[1].ipBlock", "excepts", "did you mean except?"),
        ("spec.ingress[0].ports[0]", "endport", "field names are case-sensitive: write endPort"),
        ("spec.ingress[0].ports[0]", "zzz", "remove it, or move it to where it belongs"),
    ],
)
def test_a_field_whose_loss_widens_the_policy_is_an_error(path: str, field: str, remedy: str) -> None:
    finding, *_ = policy(spec_with(path, {field: "x"})).findings
    assert (finding.code, finding.severity) == ("unknown-field-widens", Severity.ERROR)
    assert (finding.path, finding.remedy) == (f"{path}.{field}", remedy)


@pytest.mark.parametrize("field", ["ingress", "egress", "podSelector", "policyTypes", "Spec", "spce"])
def test_a_part_of_the_spec_outside_of_it_is_an_error(field: str) -> None:
    (finding,) = decode_policy(manifest({}) | {field: []}).findings
    assert (finding.code, finding.path) == ("unknown-field-widens", field)


def test_a_misspelt_namespace_moves_the_policy_and_is_an_error() -> None:
    (finding,) = policy({}, namespce="prod").findings
    assert (finding.code, finding.path) == ("unknown-field-widens", "metadata.namespce")


@pytest.mark.parametrize(("field", "path"), [("extra", "extra"), ("metadata", "metadata.owner")])
def test_other_unknown_fields_are_warnings(field: str, path: str) -> None:
    data = manifest({}, owner="me") if field == "metadata" else manifest({}) | {"extra": 1}
    (finding,) = decode_policy(data).findings
    assert (finding.code, finding.severity, finding.path) == ("unknown-field", Severity.WARNING, path)


def test_known_fields_of_the_metadata_and_the_status_are_fine() -> None:
    found = decode_policy(
        manifest({}, creationTimestamp=None, managedFields=[], resourceVersion="1", finalizers=["a"])
        | {"status": {}}
    )
    assert found.findings == ()


def test_a_pod_selector_with_an_unknown_field_isolates_every_pod_and_allows_nothing() -> None:
    """`podSelector: {app: web}` would select every pod once `app` is dropped (rule 2.63)."""
    found = policy({"podSelector": {"app": "web"}, "ingress": [{}]})
    assert (found.pod_selector, found.ingress) == (EVERYTHING, ())


def test_a_rule_with_an_unknown_field_allows_nothing() -> None:
    """`egress: [{from: ...}]` would be `- {}`, allow everything, once `from` is dropped (rule 2.63)."""
    found = policy({"egress": [{"from": [{"podSelector": {}}]}, {"ports": [{"port": 53}]}]})
    assert [rule.index for rule in found.egress] == [1]
    assert Direction.EGRESS in found.directions


@pytest.mark.parametrize("field", ["egres", "policyType", "podSelecter"])
def test_an_unknown_field_of_the_spec_isolates_both_directions_and_allows_nothing(field: str) -> None:
    found = policy({field: [], "ingress": [{}]})
    assert set(found.directions) == set(Direction)
    assert found.ingress == found.egress == ()


def test_a_block_with_an_unknown_field_matches_nobody() -> None:
    block = {"cidr": "10.0.0.0/8", "excepts": ["10.1.0.0/16"]}
    (rule,) = policy({"ingress": [{"from": [{"ipBlock": block}]}]}).ingress
    assert rule.peers == ()


def test_a_port_with_an_unknown_field_matches_no_port() -> None:
    (rule,) = policy({"ingress": [{"ports": [{"protocol": "TCP", "prot": 80}]}]}).ingress
    assert rule.ports == ()


def test_a_peer_with_only_unknown_fields_matches_nobody() -> None:
    (rule,) = policy({"ingress": [{"from": [{"podselector": {}}]}]}).ingress
    assert rule.peers == ()


def test_an_unknown_field_with_a_hostile_name_is_printable() -> None:
    found = decode_policy(manifest({"a\nb\x1b": 1, "x" * 10_000_000: 2, 5: 3}))
    assert len(found.findings) == 3
    assert all(str(finding).isprintable() and len(str(finding)) < 500 for finding in found.findings)

"""What a valid NetworkPolicy decodes to: rules 2.1 to 2.5 and 2.10 to 2.16, 2.32, 2.33."""

import pytest

from controller.objects.addresses import parse_cidr
from controller.objects.decode_policy import decode_policy
from controller.objects.documents import parse_documents
from controller.objects.findings import Severity
from controller.objects.kinds import Direction, IPBlock, Peer, PolicyPort, PolicyRule, Protocol
from controller.objects.labels import EVERYTHING, LabelSelector, Operator, Requirement
from tests.unit.objects.writing import UNSET, ingress_policy, manifest, peers, policy, ports

INGRESS = (Direction.INGRESS,)
EGRESS = (Direction.EGRESS,)
BOTH = (Direction.INGRESS, Direction.EGRESS)


@pytest.mark.parametrize("namespace", [None, ""])
def test_a_missing_namespace_is_default(namespace: str | None) -> None:
    """Rule 2.1."""
    assert policy({}, namespace=namespace).key == ("default", "web")


@pytest.mark.parametrize("spec", [UNSET, None, {}, {"podSelector": None}, {"podSelector": {}}])
def test_a_policy_without_pod_selector_isolates_the_whole_namespace_for_ingress(spec: object) -> None:
    """Rule 2.2."""
    found = policy(spec)
    assert (found.pod_selector, found.directions, found.ingress, found.egress) == (
        EVERYTHING,
        INGRESS,
        (),
        (),
    )
    assert found.findings == ()


@pytest.mark.parametrize(
    ("spec", "directions"),
    [
        ({}, INGRESS),
        ({"policyTypes": None}, INGRESS),
        ({"policyTypes": []}, INGRESS),
        ({"ingress": [{}]}, INGRESS),
        ({"egress": []}, INGRESS),
        ({"egress": None}, INGRESS),
        ({"egress": [{}]}, BOTH),
        ({"policyTypes": [], "egress": [{}]}, BOTH),
        ({"policyTypes": ["Egress"]}, EGRESS),
        ({"policyTypes": ["Egress"], "ingress": [{}]}, EGRESS),
        ({"policyTypes": ["Ingress"], "egress": [{}]}, INGRESS),
        ({"policyTypes": ["Egress", "Ingress"]}, BOTH),
        ({"policyTypes": ["Egress", "Egress"]}, EGRESS),
    ],
)
def test_policy_types_default_as_in_the_api_server(spec: object, directions: tuple[Direction, ...]) -> None:
    """Rules 2.3 and 2.4."""
    found = policy(spec)
    assert found.directions == directions
    assert {finding.code for finding in found.findings} <= {"empty-egress"}


def test_an_empty_egress_that_isolates_nothing_is_a_warning() -> None:
    """Rule 2.3."""
    (finding,) = policy({"egress": []}).findings
    assert (finding.code, finding.severity, finding.path) == ("empty-egress", Severity.WARNING, "spec.egress")


def test_rules_of_a_direction_that_policy_types_leaves_out_do_not_count() -> None:
    """Rule 2.4."""
    assert policy({"policyTypes": ["Egress"], "ingress": [{}]}).rules(Direction.INGRESS) == ()


@pytest.mark.parametrize("rules", [None, []])
def test_no_rules_allow_nothing(rules: object) -> None:
    """Rule 2.10."""
    assert policy({"ingress": rules}).ingress == ()


@pytest.mark.parametrize("rule", [{}, {"from": None, "ports": None}, {"from": [], "ports": []}])
def test_an_empty_rule_allows_everything(rule: object) -> None:
    """Rules 2.10 and 2.11."""
    assert ingress_policy(rule).ingress == (PolicyRule(0, peers=None, ports=None),)


def test_egress_rules_have_peers_under_to() -> None:
    found = policy({"egress": [{"to": [{"podSelector": {}}]}]})
    assert found.egress == (PolicyRule(0, peers=(Peer(0, EVERYTHING),)),)


WEB = LabelSelector.of({"app": "web"})


@pytest.mark.parametrize(
    ("written", "peer"),
    [
        ({"podSelector": {}}, Peer(0, EVERYTHING)),
        ({"podSelector": {"matchLabels": {"app": "web"}}}, Peer(0, WEB)),
        ({"namespaceSelector": {}}, Peer(0, None, EVERYTHING)),
        ({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "web"}}}, Peer(0, WEB, EVERYTHING)),
        ({"podSelector": None, "namespaceSelector": {}}, Peer(0, None, EVERYTHING)),
        ({"podSelector": {}, "ipBlock": None}, Peer(0, EVERYTHING)),
    ],
)
def test_a_peer_selects_pods_and_namespaces(written: object, peer: Peer) -> None:
    """Rules 2.12 to 2.14: a selector that is null is absent."""
    assert peers(written) == (peer,)


@pytest.mark.parametrize(
    ("selector", "requirements"),
    [
        ({"matchLabels": None, "matchExpressions": None}, []),
        ({"matchLabels": {"a": ""}}, [Requirement("a", Operator.IN, ("",))]),
        ({"matchLabels": {"a": None}}, [Requirement("a", Operator.IN, ("",))]),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, [Requirement("a", Operator.EXISTS)]),
        (
            {"matchExpressions": [{"key": "a", "operator": "DoesNotExist", "values": []}]},
            [Requirement("a", Operator.DOES_NOT_EXIST)],
        ),
        (
            {"matchExpressions": [{"key": "x.y/a", "operator": "NotIn", "values": ["c", "b", "c"]}]},
            [Requirement("x.y/a", Operator.NOT_IN, ("b", "c"))],
        ),
        (
            {
                "matchLabels": {"b": "1"},
                "matchExpressions": [{"key": "a", "operator": "In", "values": ["2"]}],
            },
            [Requirement("a", Operator.IN, ("2",)), Requirement("b", Operator.IN, ("1",))],
        ),
    ],
)
def test_a_selector_is_canonical(selector: object, requirements: list[Requirement]) -> None:
    """Rule 2.16."""
    assert policy({"podSelector": selector}).pod_selector == LabelSelector(tuple(requirements))


@pytest.mark.parametrize("excepts", [None, []])
def test_an_ip_block_may_have_no_exceptions(excepts: object) -> None:
    assert peers({"ipBlock": {"cidr": "10.0.0.0/8", "except": excepts}}) == (
        Peer(0, ip_block=IPBlock(parse_cidr("10.0.0.0/8"))),
    )


def test_overlapping_exceptions_are_legal() -> None:
    """Rule 2.23."""
    written = {"cidr": "10.0.0.0/8", "except": ["10.2.0.0/16", "10.1.0.0/16", "10.1.1.0/24", "10.1.0.0/16"]}
    excepts = tuple(parse_cidr(text) for text in ("10.1.0.0/16", "10.1.1.0/24", "10.2.0.0/16"))
    (peer,) = peers({"ipBlock": written}) or ()
    assert peer.ip_block == IPBlock(parse_cidr("10.0.0.0/8"), tuple(sorted(excepts)))


@pytest.mark.parametrize(
    ("written", "port"),
    [
        ({}, PolicyPort(0)),
        ({"protocol": None, "port": None, "endPort": None}, PolicyPort(0)),
        ({"port": 80}, PolicyPort(0, Protocol.TCP, 80)),
        ({"port": 1, "protocol": "UDP"}, PolicyPort(0, Protocol.UDP, 1)),
        ({"port": 65535, "protocol": "SCTP"}, PolicyPort(0, Protocol.SCTP, 65535)),
        ({"protocol": "UDP"}, PolicyPort(0, Protocol.UDP)),
        ({"port": "http"}, PolicyPort(0, Protocol.TCP, "http")),
        ({"port": 80, "endPort": 90}, PolicyPort(0, Protocol.TCP, 80, 90)),
        ({"port": 80, "endPort": 80}, PolicyPort(0, Protocol.TCP, 80, 80)),
        ({"port": 80, "endPort": 65535}, PolicyPort(0, Protocol.TCP, 80, 65535)),
    ],
)
def test_a_port_defaults_to_tcp_and_to_every_number(written: object, port: PolicyPort) -> None:
    """Rules 2.5, 2.32 and 2.33."""
    assert ports(written) == (port,)


def test_what_the_api_server_accepts_is_accepted() -> None:
    """The list at the end of rule 2.70."""
    block = {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/9", "10.0.0.0/10"]}
    found = policy(
        {
            "policyTypes": ["Egress"],
            "podSelector": {"matchLabels": {"nobody": "has-this"}},
            "ingress": [{}, {}, {"from": []}],
            "egress": [
                {"to": [{"ipBlock": block}] * 2, "ports": [{"port": "unused"}, {"port": 80}, {"port": 80}]},
                {"ports": [{"port": number} for number in range(1, 41)]},
                {"to": [{"ipBlock": {"cidr": f"10.0.{n // 256}.{n % 256}/32"}} for n in range(3000)]},
            ],
        }
    )
    assert found.findings == ()
    assert len(found.egress[2].peers or ()) == 3000


def test_what_a_policy_knows_of_its_object_is_kept() -> None:
    found = policy({}, uid="u-1", generation=3, labels={"a": "b"}, annotations={"c": "d e"})
    assert (found.key, found.uid, found.generation, found.findings) == (("shop", "web"), "u-1", 3, ())


def test_indexes_are_those_of_the_lists_as_written() -> None:
    found = ingress_policy({}, {"from": [{}, {"podSelector": {}}], "ports": [{"port": "!"}, {"port": 80}]})
    (rule,) = found.ingress[1:]
    assert (
        rule.index,
        [peer.index for peer in rule.peers or ()],
        [port.index for port in rule.ports or ()],
    ) == (
        1,
        [1],
        [1],
    )


def test_rules_peers_and_ports_have_lines() -> None:
    text = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {}
  ingress:
  - from:
    - podSelector: {}
    ports:
    - port: 80
  egress:
  - {}
"""
    (document,), _ = parse_documents(text, "a.yaml")
    assert document.lines is not None
    found = decode_policy(document.data, document.source, document.lines.line)
    assert found.lines == {
        "spec.podSelector": 5,
        "spec.ingress[0]": 7,
        "spec.ingress[0].from[0]": 8,
        "spec.ingress[0].ports[0]": 10,
        "spec.egress[0]": 12,
    }


def test_a_policy_from_json_has_no_lines() -> None:
    assert decode_policy(manifest({"ingress": [{}]})).lines == {}

"""What users are told about a policy or a pod."""

from controller.engine.resolve import Resolver
from controller.objects.decode_cluster import decode_pod
from controller.objects.decode_policy import decode_policy
from controller.objects.kinds import Mode
from controller.operator.judgement import (
    PARTS_MAX,
    enforced,
    judge_pod,
    judge_policy,
    nodes_of,
    policy_subject,
)
from controller.operator.notices import Reason, Subject
from tests.unit.builder import ClusterBuilder, Spec, cluster, labels, read_policy

SHOP = (
    cluster()
    .ns("shop")
    .ns("bank")
    .pod("shop/web", labels={"app": "web"}, ports=["http:8080"], node="node-1")
    .pod("shop/db", labels={"app": "db"}, ports=["sql:5432"], node="node-2")
    .pod("bank/web", labels={"app": "web"}, ports=["https:8443"], node="node-3")
)


def judged(spec: Spec, builder: ClusterBuilder = SHOP) -> list[tuple[Reason, str]]:
    policy = read_policy("shop/p", spec)
    resolver = Resolver.of(builder.build())
    resolver.put_policy(policy)
    return [(each.topic.reason, each.note) for each in judge_policy(resolver, policy)]


def test_of_a_policy_that_is_well_nothing_is_said() -> None:
    spec = {
        "podSelector": labels(app="web"),
        "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": "http"}]}],
    }

    assert judged(spec) == []


def test_a_policy_that_selects_nothing_is_told_what_it_may_have_meant() -> None:
    ((reason, note),) = judged({"podSelector": labels(app="wbe")})

    assert reason is Reason.SELECTS_NO_PODS
    assert note.startswith("spec.podSelector: no pod of namespace shop matches app=wbe; did you mean app=web")


def test_a_policy_in_an_empty_namespace_selects_nothing() -> None:
    assert judged({"podSelector": {}}, cluster().ns("shop").pod("bank/web")) == [
        (Reason.SELECTS_NO_PODS, "spec.podSelector: namespace shop has no pods")
    ]


def test_a_selector_that_can_never_match_is_said_to_be_one() -> None:
    spec = {
        "podSelector": {
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "app", "operator": "DoesNotExist"}],
        }
    }

    ((reason, note),) = judged(spec)

    assert reason is Reason.SELECTS_NO_PODS
    assert "no pod can ever match" in note


def test_each_wrong_part_is_told_with_its_path_and_what_to_do() -> None:
    spec = {
        "podSelector": labels(app="web"),
        "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/33"}}]}],
    }

    ((reason, note),) = judged(spec)

    assert reason is Reason.INVALID_PART
    assert note.startswith("spec.ingress[0].from[0].ipBlock.cidr: ")
    assert ";" in note


def test_many_wrong_parts_are_not_told_one_by_one() -> None:
    peers = [{"ipBlock": {"cidr": f"10.0.0.{number}/99"}} for number in range(20)]
    found = judged({"podSelector": labels(app="web"), "ingress": [{"from": peers}]})

    assert len(found) == PARTS_MAX + 1
    assert found[-1][1] == "15 more parts are wrong; podgate lint names them"


def test_a_named_port_that_no_selected_pod_has_is_told() -> None:
    spec = {"podSelector": labels(app="web"), "ingress": [{"ports": [{"port": "htpp"}]}]}

    ((reason, note),) = judged(spec)

    assert reason is Reason.NAMED_PORT_UNRESOLVED
    assert note.startswith("spec.ingress[0].ports[0]")
    assert "did you mean http?" in note


def test_a_named_port_of_the_other_protocol_is_told() -> None:
    spec = {
        "podSelector": labels(app="web"),
        "ingress": [{"ports": [{"port": "http", "protocol": "UDP"}]}],
    }

    ((reason, note),) = judged(spec)

    assert (reason, "write protocol: TCP" in note) == (Reason.NAMED_PORT_UNRESOLVED, True)


def test_a_named_port_that_no_destination_has_is_told() -> None:
    to = [{"namespaceSelector": labels(**{"kubernetes.io/metadata.name": "bank"})}]
    spec = {
        "podSelector": labels(app="web"),
        "policyTypes": ["Egress"],
        "egress": [{"to": to, "ports": [{"port": "sql"}]}],
    }

    assert judged(spec) == [
        (
            Reason.NAMED_PORT_UNRESOLVED,
            "spec.egress[0].ports: none of the allowed pods has a port named sql: it opens nothing",
        )
    ]


def test_a_named_port_that_some_destination_has_is_well() -> None:
    spec = {
        "podSelector": labels(app="web"),
        "policyTypes": ["Egress"],
        "egress": [{"to": [{"namespaceSelector": {}}], "ports": [{"port": "sql"}]}],
    }

    assert judged(spec) == []


def test_a_rule_that_allows_no_pod_at_all_is_another_matter() -> None:
    spec = {
        "podSelector": labels(app="web"),
        "policyTypes": ["Egress"],
        "egress": [{"to": [{"podSelector": labels(app="none")}], "ports": [{"port": "sql"}]}],
    }

    assert judged(spec) == []


def test_the_nodes_of_a_policy_are_those_of_the_pods_it_selects() -> None:
    policy = read_policy("shop/p", {"podSelector": {}})
    resolver = Resolver.of(SHOP.build())
    resolver.put_policy(policy)

    assert nodes_of(resolver, policy) == {"node-1", "node-2"}


def test_an_enforced_policy_is_said_to_be_so_on_its_nodes() -> None:
    assert enforced(read_policy("shop/p", {}), 3).note == "enforced on 3 nodes"
    assert enforced(read_policy("shop/p", {}), 1).note == "enforced on 1 node"


def test_a_pod_that_cannot_be_read_is_told_why() -> None:
    pod, findings = decode_pod(
        {"metadata": {"name": "web", "namespace": "shop", "labels": {"app": 7}}, "spec": {}}
    )
    (found,) = judge_pod(Subject("v1", "Pod", *pod.key), findings)

    assert found.topic.reason is Reason.QUARANTINED
    assert "metadata.labels[app]" in found.note
    assert "a peer of nobody" in found.note


def test_a_policy_is_named_by_its_uid_too() -> None:
    assert policy_subject(read_policy("shop/p", {})) == Subject(
        "networking.k8s.io/v1", "NetworkPolicy", "shop", "p"
    )


def test_a_mode_that_does_not_exist_is_told_though_the_api_server_takes_it() -> None:
    policy = decode_policy(
        {
            "apiVersion": "networking.k8s.io/v1",
            "metadata": {"namespace": "shop", "name": "p", "annotations": {"podgate.dev/mode": "audot"}},
            "spec": {"podSelector": labels(app="web")},
        }
    )

    (found,) = judge_policy(SHOP.resolver(), policy)

    assert found.topic.reason is Reason.INVALID_PART
    assert "is no mode: it is enforced; write podgate.dev/mode: audit, or enforce" in found.note


def test_a_policy_in_audit_mode_is_not_called_enforced() -> None:
    found = enforced(read_policy("shop/p", {}), 2, Mode.AUDIT)

    assert (found.topic.reason, found.action) == (Reason.AUDITED, "Audit")
    assert found.note == "audited on 2 nodes; nothing is dropped"


def test_a_quarantined_pod_that_is_only_audited_is_not_called_isolated() -> None:
    subject = Subject("v1", "Pod", "shop", "odd")

    (found,) = judge_pod(subject, (), is_shut=False)

    assert found.note.startswith("audited in both directions and a peer of nobody")

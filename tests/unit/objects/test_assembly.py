"""Documents to a cluster: kinds, duplicates, what is implied."""

from collections.abc import Callable

import pytest

from controller.objects.codes import UNREADABLE
from controller.objects.findings import Severity
from tests.unit.objects.writing import Manifest, assemble, codes, manifest, node, pod, running, workload


def namespace(name: str, **labels: object) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def test_every_namespace_that_is_lived_in_exists() -> None:
    found = assemble(pod("shop/a"), manifest({}, namespace="prod"), namespace("empty", team="x")).cluster
    assert {item.name: item.labels for item in found.namespaces} == {
        "empty": {"team": "x", "kubernetes.io/metadata.name": "empty"},
        "prod": {"kubernetes.io/metadata.name": "prod"},
        "shop": {"kubernetes.io/metadata.name": "shop"},
    }


def test_everything_is_sorted_whatever_the_order_of_the_files() -> None:
    manifests = [
        manifest({}, name="b"),
        manifest({}, name="a"),
        running("shop/b", "10.0.0.2"),
        running("a/z", "10.0.0.3"),
        node("n2"),
        node("n1"),
        workload("Deployment", "shop/web", {"app": "web"}),
        namespace("shop"),
    ]
    first = assemble(*manifests).cluster
    for turn in range(1, len(manifests)):
        again = assemble(*manifests[turn:], *manifests[:turn]).cluster
        assert (
            [item.key for item in again.pods]
            == [item.key for item in first.pods]
            == [
                ("a", "z"),
                ("shop", "b"),
                ("shop", "web"),
            ]
        )
        assert [item.ips for item in again.pods] == [item.ips for item in first.pods]
        assert [item.key for item in again.policies] == [("shop", "a"), ("shop", "b")]
        assert [item.name for item in again.nodes] == ["n1", "n2"]


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda x: manifest({"policyTypes": [x]}), "NetworkPolicy shop/web"),
        (lambda x: pod("shop/web", labels={"x": x}), "Pod shop/web"),
        (lambda x: namespace("shop", x=x), "Namespace shop"),
        (lambda x: node("n1", ip="10.0.0.1" if x == "Ingress" else "10.0.0.2"), "Node n1"),
        (lambda x: workload("Job", "shop/web", {"x": x}), "Job shop/web"),
    ],
)
def test_of_two_definitions_the_later_one_counts_with_a_warning(
    make: Callable[[str], Manifest], what: str
) -> None:
    twice = assemble(make("Ingress"), make("Egress"))
    (finding,) = twice.findings
    assert (finding.code, finding.severity, finding.object) == ("duplicate-object", Severity.WARNING, what)
    assert "0.yaml:1 and again at 1.yaml:1" in finding.message
    once = assemble(make("Egress")).cluster
    assert repr(twice.cluster).replace("1.yaml", "0.yaml") == repr(once)


def test_policies_without_a_name_do_not_replace_each_other() -> None:
    found = assemble(
        manifest({"podSelector": {"matchLabels": {"a": "b"}}}, name=None),
        manifest({}, name=None),
        manifest({}, name=""),
    ).cluster
    assert len(found.policies) == 3
    assert len({item.key for item in found.policies}) == 3


def test_objects_of_one_name_and_different_kinds_are_no_duplicates() -> None:
    assert assemble(pod("shop/web"), manifest({}), workload("Deployment", "shop/web", {})).findings == ()


def test_other_kinds_are_counted_and_passed_over() -> None:
    other = [
        {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}}
        for kind in ("ConfigMap", "Secret", "ConfigMap")
    ]
    found = assemble(*other, {"apiVersion": "example.com/v1", "kind": "Pod", "metadata": {"name": "x"}})
    assert found.skipped == {"Pod": 1, "Secret": 1, "ConfigMap": 2}
    assert (found.findings, found.cluster.pods) == ((), ())


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("crd.projectcalico.org/v1", "NetworkPolicy"),
        ("projectcalico.org/v3", "GlobalNetworkPolicy"),
        ("cilium.io/v2", "CiliumNetworkPolicy"),
        ("cilium.io/v2", "CiliumClusterwideNetworkPolicy"),
        ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy"),
        ("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy"),
        ("policy.networking.k8s.io/v1alpha1", "BaselineAdminNetworkPolicy"),
    ],
)
def test_policies_of_other_makers_are_named(version: str, kind: str) -> None:
    found = assemble({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}})
    (finding,) = found.findings
    assert (finding.code, finding.severity) == ("policy-not-read", Severity.WARNING)
    assert found.cluster.policies == ()
    assert found.skipped == {kind: 1}


@pytest.mark.parametrize(
    ("version", "kind", "code"),
    [
        ("networking.k8s.io/v1", "networkpolicy", "unknown-kind"),
        ("networking.k8s.io/v1", "NetworkPolicies", "unknown-kind"),
        ("networking.k8s.io/v1", "NetworkPolciy", "unknown-kind"),
        ("networking.k8s.io/v1", "NetPol", "unknown-kind"),
        ("networking.k8s.io/v1", "Policy", "unknown-kind"),
        ("networking.k8s.io/v1", "Deployment", "unknown-kind"),
        (None, "networkPolicy", "unknown-kind"),
        ("v1", "pod", "unknown-kind"),
        ("apps/v1", "deployment", "unknown-kind"),
        ("v1", None, "missing-kind"),
        ("v1", "", "missing-kind"),
        ("v1", 5, "missing-kind"),
        ("v1", ["Pod"], "missing-kind"),
    ],
)
def test_a_kind_that_is_missing_or_misspelt_is_unreadable(version: object, kind: object, code: str) -> None:
    found = assemble({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}})
    assert codes(found) == [code]
    assert code in UNREADABLE


def test_a_file_of_another_program_is_passed_over_with_a_warning() -> None:
    found = assemble(
        {"replicaCount": 1, "image": {}}, {"resources": ["a.yaml"]}, {"apiVersion": "v2", "name": "x"}
    )
    assert codes(found) == ["not-a-manifest"] * 3
    assert {finding.severity for finding in found.findings} == {Severity.WARNING}
    assert not {"not-a-manifest"} & UNREADABLE


@pytest.mark.parametrize("kind", ["Ingress", "IngressClass", "ServiceCIDR"])
def test_other_kinds_of_the_same_group_are_no_misspelling(kind: str) -> None:
    assert codes(assemble({"apiVersion": "networking.k8s.io/v1", "kind": kind})) == []


@pytest.mark.parametrize("kind", ["Pod", "Namespace", "Node", "Deployment"])
def test_an_object_without_api_version_is_read_with_an_error(kind: str) -> None:
    template: Manifest = {"template": {"metadata": {}}} if kind == "Deployment" else {}
    found = assemble({"kind": kind, "metadata": {"name": "x"}, "spec": template})
    assert codes(found) == ["wrong-api-version"]
    assert found.skipped == {}


@pytest.mark.parametrize(
    "version",
    [
        "extensions/v1beta1",
        "networking.k8s.oi/v1",
        "network.k8s.io/v1",
        "networking/v1",
        "v1",
        None,
        5,
        ["a"],
    ],
)
def test_a_policy_of_an_old_or_misspelt_group_is_read_with_an_error(version: object) -> None:
    found = assemble(manifest({}) | {"apiVersion": version})
    assert codes(found) == ["wrong-api-version"]
    assert len(found.cluster.policies) == 1


def test_pods_of_a_namespace_with_unreadable_labels_are_quarantined() -> None:
    found = assemble(namespace("shop", tier=1), pod("shop/a"), pod("other/b")).cluster
    assert {item.name: item.quarantined for item in found.pods} == {"a": True, "b": False}


def test_a_readable_definition_of_the_namespace_ends_the_quarantine() -> None:
    found = assemble(namespace("shop", tier=1), namespace("shop", tier="1"), pod("shop/a")).cluster
    assert not found.pods[0].quarantined


def test_two_live_pods_with_one_address_are_a_warning() -> None:
    """Rule 2.56."""
    found = assemble(running("shop/a", "10.0.0.1"), running("shop/b", "10.0.0.1", "10.0.0.2"))
    (finding,) = found.findings
    assert (finding.code, finding.severity, finding.object) == (
        "duplicate-ip",
        Severity.WARNING,
        "Pod shop/b",
    )
    assert finding.message == "10.0.0.1 is also the address of shop/a"


def test_finished_and_host_network_pods_may_share_addresses() -> None:
    """Rules 2.43 and 2.54."""
    finished = pod("shop/old", status={"phase": "Succeeded", "podIP": "10.0.0.1"})
    host = [running(f"shop/h{number}", "192.168.0.1", spec={"hostNetwork": True}) for number in range(2)]
    assert assemble(finished, running("shop/new", "10.0.0.1"), *host).findings == ()


def test_no_pod_has_the_address_of_a_node() -> None:
    """Rule 2.42: whether it is on the host network cannot be read, and to isolate it isolates the node."""
    unreadable = running("shop/web", "192.168.0.1", "10.0.0.5", spec={"hostNetwork": "true"})
    found = assemble(node("n1", ip="192.168.0.1"), unreadable)
    assert [(each.ips, each.quarantined) for each in found.cluster.pods] == [(("10.0.0.5",), True)]
    assert "192.168.0.1 is the address of Node n1: nothing is enforced for the pod there" in [
        each.message for each in found.findings
    ]


def test_findings_are_in_the_order_of_the_files() -> None:
    found = assemble(manifest({"policyTypes": 5}, name="z"), manifest({"ingress": 5, "egress": 5}, name="a"))
    assert [(item.source.file, item.path) for item in found.findings] == [
        ("0.yaml", "spec.policyTypes"),
        ("1.yaml", "spec.egress"),
        ("1.yaml", "spec.ingress"),
    ]


@pytest.mark.parametrize("kind", ["Ingress", "IngressClass", "IPAddress", "ServiceCIDR", "IngressList"])
def test_the_other_kinds_of_the_api_version_of_policies_are_passed_over(kind: str) -> None:
    found = assemble({"apiVersion": "networking.k8s.io/v1", "kind": kind, "metadata": {"name": "x"}})
    assert (found.findings, found.skipped) == ((), {kind: 1})

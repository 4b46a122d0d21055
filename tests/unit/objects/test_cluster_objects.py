"""Pods, namespaces and nodes: rules 2.17, 2.37, 2.40, 2.54 and 2.57; and what becomes of unreadable ones."""

from typing import Any

import pytest

from controller.objects.addresses import parse_cidr
from controller.objects.decode_cluster import decode_namespace, decode_node, decode_pod
from controller.objects.findings import Finding
from controller.objects.kinds import ContainerPort, Pod, Protocol
from controller.objects.names import safe_name
from controller.objects.wire import NAMESPACE_DECODER, NODE_DECODER, POD_DECODER
from tests.unit.objects.writing import Manifest, assemble, node, pod, workload


def read(data: Manifest) -> Pod:
    reading = decode_pod(data)
    assert reading.findings == ()
    return reading.pod


def refused(data: Manifest) -> tuple[Pod, list[tuple[str, str]]]:
    reading = decode_pod(data)
    return reading.pod, [(finding.code, finding.path) for finding in reading.findings]


def ports(*containers: object, **spec: object) -> tuple[ContainerPort, ...]:
    return read(pod("shop/web", spec={"containers": list(containers)} | spec)).ports


def http(port: int = 80, **extra: object) -> dict[str, Any]:
    return {"name": "http", "containerPort": port} | extra


def test_a_pod_is_reduced_to_what_decides_its_traffic() -> None:
    data = pod(
        "shop/web",
        labels={"app": "web", "empty": None},
        spec={"nodeName": "n1", "hostNetwork": True, "volumes": [{"name": "x"}]},
        status={"phase": "Pending", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]},
    )
    assert read(data) == Pod(
        namespace="shop",
        name="web",
        labels={"app": "web", "empty": ""},
        ips=("10.0.0.1", "fd00::1"),
        node="n1",
        phase="Pending",
        host_network=True,
    )


@pytest.mark.parametrize("status", [None, {}, {"phase": None}, {"phase": ""}])
def test_a_pod_without_phase_runs(status: object) -> None:
    assert read(pod("shop/web", status=status)).phase == "Running"


def test_named_ports_of_all_containers_are_united() -> None:
    """Rule 2.37: names are unique within a container only."""
    found = ports(
        {"ports": [http(), {"containerPort": 9}]},
        {"ports": [http(81), http(80, protocol="UDP"), http(80, protocol=None, hostPort=8)]},
        {"ports": None},
    )
    assert found == (
        ContainerPort("http", Protocol.TCP, 80),
        ContainerPort("http", Protocol.TCP, 81),
        ContainerPort("http", Protocol.UDP, 80),
    )


def test_sidecars_count_and_ordinary_init_containers_do_not() -> None:
    """Rule 2.37."""
    inits = [{"restartPolicy": "Always", "ports": [http(1)]}, {"ports": [http(2)]}]
    assert [port.port for port in ports(initContainers=inits)] == [1]


@pytest.mark.parametrize(
    ("status", "ips"),
    [
        ({"podIP": "10.0.0.1"}, ("10.0.0.1",)),
        ({"podIPs": [{"ip": "fd00::1"}, {"ip": "10.0.0.1"}], "podIP": "10.0.0.1"}, ("fd00::1", "10.0.0.1")),
        ({"podIPs": [{"ip": "FD00:0::1"}, {"ip": "fd00::1"}]}, ("fd00::1",)),
        ({"podIPs": [{"ip": "::ffff:10.0.0.1"}, {"ip": "010.0.0.1"}]}, ("10.0.0.1",)),
        ({"podIPs": [], "podIP": ""}, ()),
        ({"podIPs": [{}]}, ()),
    ],
)
def test_addresses_of_both_families_are_canonical_and_in_order(status: object, ips: tuple[str, ...]) -> None:
    """Rule 2.57."""
    assert read(pod("shop/web", status=status)).ips == ips


def test_a_bad_address_is_left_out() -> None:
    found, codes = refused(pod("shop/web", status={"podIPs": [{"ip": "10.0.0.256"}, {"ip": "10.0.0.2"}]}))
    assert found.ips == ("10.0.0.2",)
    assert not found.quarantined
    assert codes == [("invalid-ip", "status.podIPs[0].ip")]


@pytest.mark.parametrize(
    ("port", "field"),
    [
        (http(0), "containerPort"),
        (http(65536), "containerPort"),
        ({"name": "http"}, "containerPort"),
        (http(protocol="tcp"), "protocol"),
        ({"name": "HTTP", "containerPort": 80}, "name"),
    ],
)
def test_a_bad_container_port_is_left_out(port: object, field: str) -> None:
    found, codes = refused(pod("shop/web", spec={"containers": [{"ports": [port]}]}))
    assert found.ports == ()
    assert codes == [("invalid-container-port", f"spec.containers[0].ports[0].{field}")]


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        ({"labels": {"app": 5}}, "metadata.labels[app]"),
        ({"labels": ["app"]}, "metadata.labels"),
        ({"spec": []}, "spec"),
        ({"spec": {"nodeName": 5}}, "spec.nodeName"),
        ({"spec": {"hostNetwork": "yes"}}, "spec.hostNetwork"),
        ({"spec": {"containers": {}}}, "spec.containers"),
        ({"spec": {"containers": [None]}}, "spec.containers[0]"),
        (
            {"spec": {"containers": [{"ports": [{"containerPort": "80"}]}]}},
            "spec.containers[0].ports[0].containerPort",
        ),
        ({"status": 5}, "status"),
        ({"status": {"phase": 5}}, "status.phase"),
        ({"status": {"podIPs": ["10.0.0.1"]}}, "status.podIPs[0]"),
    ],
)
def test_a_pod_of_wrong_types_is_quarantined(parts: dict[str, Any], path: str) -> None:
    found, codes = refused(pod("shop/web", **parts))
    assert found.quarantined
    assert found.key == ("shop", "web")
    assert codes == [("wrong-type", path), ("quarantined", "")]


def test_a_quarantined_pod_keeps_what_could_be_read() -> None:
    data = pod("shop/web", labels={"a": "b", "c": 5}, spec={"nodeName": "n"}, status={"podIP": "10.0.0.1"})
    found, _ = refused(data)
    assert (found.labels, found.node, found.ips) == ({"a": "b"}, "n", ("10.0.0.1",))


def test_a_field_of_a_wrong_type_costs_no_other() -> None:
    """Were the address lost with it, the pod would be open there."""
    data = pod(
        "shop/web",
        spec={"hostNetwork": "true", "nodeName": "n1", "containers": [None, {"ports": [{}, 5]}]},
        status={"phase": 5, "podIPs": [None, {"ip": "10.0.0.5"}], "podIP": "10.0.0.6"},
    )
    found, codes = refused(data)
    assert (found.node, found.ips, found.quarantined) == ("n1", ("10.0.0.5", "10.0.0.6"), True)
    assert [path for code, path in codes if code == "wrong-type"] == [
        "spec.containers[0]",
        "spec.containers[1].ports[1]",
        "spec.hostNetwork",
        "status.phase",
        "status.podIPs[0]",
    ]


def test_an_unreadable_item_leaves_the_others_their_index() -> None:
    _, codes = refused(pod("shop/web", status={"podIPs": [None, {"ip": "x"}]}))
    assert ("invalid-ip", "status.podIPs[1].ip") in codes


def test_a_part_whose_keys_are_no_names_says_so() -> None:
    found, codes = refused(pod("shop/web", status={5: "x", "podIP": "10.0.0.5"}))
    assert found.quarantined
    assert ("wrong-type", "status") in codes


def test_a_node_keeps_the_addresses_beside_one_that_cannot_be_read() -> None:
    addresses = [5, {"type": "InternalIP", "address": "192.168.0.1"}]
    spec = {"podCIDRs": [5, "10.244.1.0/24"]}
    found = decode_node({"metadata": {"name": "n1"}, "spec": spec, "status": {"addresses": addresses}})
    assert (found.node.ips, found.node.pod_cidrs) == (("192.168.0.1",), (parse_cidr("10.244.1.0/24"),))
    assert [each.path for each in found.findings] == ["spec.podCIDRs[0]", "status.addresses[0]"]


@pytest.mark.parametrize("labels", [{"app": "a b"}, {"app": "web "}, {"app ": "web"}])
def test_a_label_that_breaks_the_grammar_quarantines_the_pod(labels: dict[str, str]) -> None:
    """Rule 2.70 b: nobody knows which selectors were meant to pick the pod."""
    found, codes = refused(pod("shop/web", labels=labels))
    assert (found.labels, found.quarantined) == (labels, True)
    assert [code for code, _ in codes] == ["invalid-label", "quarantined"]


def test_a_label_that_breaks_the_grammar_quarantines_the_pod_of_a_template() -> None:
    (found,) = assemble(workload("Deployment", "shop/web", {"app": "web "})).cluster.pods
    assert found.quarantined


@pytest.mark.parametrize("name", ["n1\n-A FORWARD -j ACCEPT\x1b[31m", "a/b", "..", "a_b", "N1", "n" * 254])
def test_a_node_name_that_breaks_the_grammar_is_an_error_and_safe_to_print(name: str) -> None:
    found, codes = refused(pod("shop/web", spec={"nodeName": name}))
    assert codes == [("invalid-node-name", "spec.nodeName")]
    assert found.node == safe_name(name)
    assert found.node.isprintable()


def test_the_node_name_of_a_template_is_checked_too() -> None:
    assembly = assemble(workload("Deployment", "shop/web", {}, nodeName="a\nb"))
    (found,) = assembly.cluster.pods
    (finding,) = assembly.findings
    assert (finding.code, finding.path) == ("invalid-node-name", "spec.template.spec.nodeName")
    assert found.node == r"a\x0ab"


def test_the_name_of_a_node_that_breaks_the_grammar_is_safe_to_print() -> None:
    reading = decode_node({"metadata": {"name": "a\nb"}})
    assert reading.node.name == r"a\x0ab"
    assert [finding.code for finding in reading.findings] == ["invalid-name"]


@pytest.mark.parametrize("metadata", [None, 5, [], {}, {"name": 5}, {"name": "a\nb", "namespace": 7}])
def test_a_pod_without_readable_identity_is_kept_under_a_safe_name(metadata: object) -> None:
    found, codes = refused({"metadata": metadata})
    assert found.namespace == "default"
    assert found.name.isprintable()
    assert codes


def test_a_namespace_always_has_the_label_with_its_name() -> None:
    """Rule 2.17: nobody can set it to something else."""
    metadata = {"name": "shop", "labels": {"team": "a", "kubernetes.io/metadata.name": "prod"}}
    assert decode_namespace({"metadata": metadata}).namespace.labels == {
        "team": "a",
        "kubernetes.io/metadata.name": "shop",
    }


@pytest.mark.parametrize("labels", [{"a": 5}, [], "x"])
def test_a_namespace_with_unreadable_labels_says_so(labels: object) -> None:
    reading = decode_namespace({"metadata": {"name": "shop", "labels": labels}})
    assert not reading.labels_readable
    assert [finding.code for finding in reading.findings] == ["wrong-type", "quarantined"]


def test_the_name_of_a_namespace_has_no_dots() -> None:
    assert [finding.code for finding in decode_namespace({"metadata": {"name": "a.b"}}).findings] == [
        "invalid-name"
    ]


def test_a_node_has_the_addresses_of_its_interfaces_and_the_blocks_of_its_pods() -> None:
    data = node("n1", "10.244.1.0/24", "fd00:1::/64", ip="192.168.0.1")
    data["status"]["addresses"] += [
        {"type": "ExternalIP", "address": "203.0.113.1"},
        {"type": "Hostname", "address": "n1"},
        {"type": "InternalIP", "address": "fd00::a"},
    ]
    found = decode_node(data)
    assert found.findings == ()
    assert found.node.ips == ("192.168.0.1", "203.0.113.1", "fd00::a")
    assert found.node.pod_cidrs == (parse_cidr("10.244.1.0/24"), parse_cidr("fd00:1::/64"))


def test_a_node_of_old_has_one_pod_block() -> None:
    found = decode_node({"metadata": {"name": "n1"}, "spec": {"podCIDR": "10.244.1.0/24"}})
    assert found.node.pod_cidrs == (parse_cidr("10.244.1.0/24"),)


@pytest.mark.parametrize(
    ("part", "code"),
    [
        ({"spec": {"podCIDRs": ["x"]}}, "invalid-pod-cidr"),
        ({"status": {"addresses": [{"type": "InternalIP", "address": "x"}]}}, "invalid-ip"),
        ({"spec": {"podCIDRs": "x"}}, "wrong-type"),
        ({"status": {"addresses": [5]}}, "wrong-type"),
    ],
)
def test_what_is_unreadable_of_a_node_is_left_out(part: dict[str, Any], code: str) -> None:
    found: tuple[Finding, ...] = decode_node({"metadata": {"name": "n1"}} | part).findings
    assert [finding.code for finding in found] == [code]


def test_bytes_of_the_api_server_decode_to_the_same_fields() -> None:
    found = POD_DECODER.decode(b'{"spec":{"nodeName":"n","x":[]},"status":{"podIPs":[{"ip":"::1"}]}}')
    assert found.spec is not None
    assert found.spec.node_name == "n"
    assert found.status is not None
    assert [item.ip for item in found.status.pod_ips or ()] == ["::1"]
    assert NODE_DECODER.decode(b'{"spec":{"podCIDR":"10.0.0.0/8"}}').spec is not None
    assert NAMESPACE_DECODER.decode(b'{"metadata":{"name":"a"}}').metadata is not None

"""Names and wiring of a lab."""

from controller.lab.addressing import plan_node
from controller.lab.network import LAB_NAME, Names
from controller.lab.wiring import Attachment, Cni, attach_lines, pod_lines


def test_no_lab_has_namespaces_that_look_like_anothers() -> None:
    assert LAB_NAME.fullmatch("a-b") is None


def test_pods_and_nodes_cannot_have_one_name() -> None:
    names = Names("lab")

    assert names.pod("n", "1") == "pg-lab-n:1"
    assert names.node("n.1") == "pg-lab-n.1"


def test_long_names_of_pods_stay_apart() -> None:
    names = Names("lab")
    first, second = names.pod("n" * 63, "p" * 252 + "1"), names.pod("n" * 63, "p" * 252 + "2")

    assert first != second
    assert max(len(first), len(second)) < 255


def test_with_ptp_the_node_routes_to_each_pod() -> None:
    node = plan_node("n1", 1, (4,))

    lines = [*attach_lines(Attachment("pod7", {4: "10.244.1.7"}), node.gateways, Cni.PTP, "ns")]

    assert lines[-2:] == ["address add 10.244.1.1/32 dev pod7", "route add 10.244.1.7/32 dev pod7"]


def test_with_a_bridge_a_port_lets_packets_out_where_they_came_in() -> None:
    node = plan_node("n1", 1, (4,))

    lines = [*attach_lines(Attachment("pod7", {4: "10.244.1.7"}), node.gateways, Cni.BRIDGE, "ns")]

    assert lines[-1] == "link set pod7 type bridge_slave hairpin on"


def test_a_pod_on_a_bridge_sees_the_whole_block_on_its_link() -> None:
    node = plan_node("n1", 1, (4, 6))
    addresses = {4: "10.244.1.7", 6: "fd00:244:1::7"}

    lines = [*pod_lines(addresses, node.gateways, node.pod_blocks, Cni.BRIDGE)]

    assert "address add 10.244.1.7/24 dev eth0" in lines
    assert "address add fd00:244:1::7/64 dev eth0 nodad" in lines

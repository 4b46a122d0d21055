"""Which node a pod goes to."""

from controller.lab.scheduling import assign
from tests.unit.lab.cluster import node, pod, workload


def test_pods_of_a_workload_are_spread() -> None:
    web = workload("Deployment")
    waiting = [pod(f"web-{number}", owner=web, node="") for number in range(3)]

    found = assign(waiting, [node("n1"), node("n2"), node("n3")])

    assert sorted(found.values()) == ["n1", "n2", "n3"]


def test_the_emptier_node_is_taken() -> None:
    web = workload("Deployment")
    others = [pod("a", node="n1"), pod("b", node="n1"), pod("c", node="n2")]

    found = assign([*others, pod("web", owner=web, node="")], [node("n1"), node("n2")])

    assert found == {"x/web": "n2"}


def test_a_node_selector_is_honoured() -> None:
    picky = pod("web", node="", spec={"nodeSelector": {"disk": "fast"}})

    assert assign([picky], [node("n1"), node("n2", disk="fast")]) == {"x/web": "n2"}


def test_where_no_node_suits_a_pod_waits() -> None:
    assert assign([pod("web", node="")], [node("n1", unschedulable=True)]) == {}

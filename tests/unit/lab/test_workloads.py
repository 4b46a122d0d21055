"""What workloads want next."""

from typing import Any

import pytest

from controller.lab.podspec import Pod
from controller.lab.workloads import Change, Workload, next_change
from tests.unit.lab.cluster import node, pod, workload


def pods(owner: Workload, *states: str) -> list[Pod]:
    """`new`, `old`, with `-` in front when not ready."""
    return [
        pod(
            f"web-{number}",
            owner=owner,
            of=owner.hash if state.endswith("new") else "before",
            ready=not state.startswith("-"),
        )
        for number, state in enumerate(states)
    ]


def counts(change: Change) -> tuple[int, int]:
    return len(change.create), len(change.delete)


def test_a_deployment_makes_what_is_missing() -> None:
    web = workload("Deployment", replicas=3)

    assert counts(next_change(web, pods(web, "new"))) == (2, 0)


def test_a_pod_of_a_deployment_belongs_to_it_and_has_the_hash_of_its_template() -> None:
    web = workload("Deployment", replicas=1)

    (made,) = next_change(web, []).create

    assert made["metadata"]["labels"] == {"app": "web", "pod-template-hash": web.hash}
    assert made["metadata"]["ownerReferences"][0]["uid"] == "uid-web"
    assert made["metadata"]["name"].startswith(f"web-{web.hash}-")


def test_the_hash_of_a_template_does_not_depend_on_the_order_of_its_fields() -> None:
    first = workload("Deployment", template={"metadata": {"labels": {"a": "1"}}, "spec": {"x": 1, "y": 2}})
    second = workload("Deployment", template={"spec": {"y": 2, "x": 1}, "metadata": {"labels": {"a": "1"}}})

    assert first.hash == second.hash


def test_of_too_many_pods_the_unready_and_the_young_go_first() -> None:
    web = workload("ReplicaSet", replicas=1)
    there = [
        pod("old", owner=web, created="2026-01-01T00:00:00Z"),
        pod("young", owner=web, created="2026-01-02T00:00:00Z"),
        pod("unready", owner=web, ready=False, created="2025-01-01T00:00:00Z"),
    ]

    assert set(next_change(web, there).delete) == {"unready", "young"}


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["old", "old", "old"], (1, 0)),  # one more than wanted may be there, and none may lack
        (["old", "old", "old", "-new"], (0, 0)),
        (["old", "old", "old", "new"], (0, 1)),
        (["old", "old", "new"], (1, 0)),
        (["new", "new", "new", "old"], (0, 1)),
        (["new", "new", "new"], (0, 0)),
        (["old", "old", "-old"], (1, 0)),
        (["old", "old", "-old", "-new"], (0, 0)),
    ],
)
def test_a_deployment_rolls_by_its_defaults(states: list[str], expected: tuple[int, int]) -> None:
    web = workload("Deployment", replicas=3)

    assert counts(next_change(web, pods(web, *states))) == expected


@pytest.mark.parametrize(
    ("rolling", "states", "expected"),
    [
        ({"maxSurge": 0, "maxUnavailable": 1}, ["old", "old", "old"], (0, 1)),
        ({"maxSurge": 0, "maxUnavailable": 1}, ["old", "old", "-new"], (0, 0)),
        ({"maxSurge": 0, "maxUnavailable": 1}, ["old", "old"], (1, 0)),
        ({"maxSurge": "100%", "maxUnavailable": 0}, ["old", "old", "old"], (3, 0)),
        ({"maxSurge": 0, "maxUnavailable": 0}, ["old", "old", "old"], (0, 1)),
    ],
)
def test_a_deployment_rolls_as_it_says(
    rolling: dict[str, Any], states: list[str], expected: tuple[int, int]
) -> None:
    web = workload("Deployment", replicas=3, strategy={"rollingUpdate": rolling})

    assert counts(next_change(web, pods(web, *states))) == expected


def test_a_deployment_that_recreates_waits_until_every_old_pod_is_gone() -> None:
    web = workload("Deployment", replicas=2, strategy={"type": "Recreate"})
    going = [pod("web-0", owner=web, of="before", terminating=True)]

    assert counts(next_change(web, pods(web, "old", "old"))) == (0, 2)
    assert counts(next_change(web, going)) == (0, 0)
    assert counts(next_change(web, [])) == (2, 0)


def test_a_statefulset_makes_one_pod_after_the_other() -> None:
    web = workload("StatefulSet", replicas=3)
    first = pod("web-0", owner=web, of=web.hash, ready=False)

    assert [each["metadata"]["name"] for each in next_change(web, []).create] == ["web-0"]
    assert counts(next_change(web, [first])) == (0, 0)


def test_a_parallel_statefulset_makes_all_at_once() -> None:
    web = workload("StatefulSet", replicas=3, podManagementPolicy="Parallel")

    assert len(next_change(web, []).create) == 3


def test_a_statefulset_is_updated_from_the_last_pod_on() -> None:
    web = workload("StatefulSet", replicas=3)

    assert next_change(web, pods(web, "old", "old", "old")).delete == ("web-2",)
    assert next_change(web, pods(web, "old", "-new", "new")).delete == ()


def test_a_statefulset_does_not_make_a_pod_again_before_it_is_gone() -> None:
    web = workload("StatefulSet", replicas=1)

    assert counts(next_change(web, [pod("web-0", owner=web, of=web.hash, terminating=True)])) == (0, 0)


def test_a_statefulset_shrinks_from_the_end() -> None:
    web = workload("StatefulSet", replicas=1)

    assert next_change(web, pods(web, "new", "new", "new")).delete == ("web-2",)


def test_a_daemonset_has_one_pod_on_each_node_that_suits() -> None:
    web = workload("DaemonSet", template={"spec": {"nodeSelector": {"disk": "fast"}}})
    nodes = [node("n1", disk="fast"), node("n2"), node("n3", disk="fast")]

    change = next_change(web, [pod("a", owner=web, node="n1", of=web.hash)], nodes)

    assert [each["spec"]["nodeName"] for each in change.create] == ["n3"]


def test_a_daemonset_leaves_nodes_that_do_not_suit_any_more() -> None:
    web = workload("DaemonSet")
    stray = pod("a", owner=web, node="n2", of=web.hash)

    assert next_change(web, [stray], [node("n2", unschedulable=True)]).delete == ("a",)


def test_a_job_makes_pods_until_enough_have_succeeded() -> None:
    job = workload("Job", completions=3, parallelism=2)
    one_done = [pod("a", owner=job, phase="Succeeded"), pod("b", owner=job)]

    assert [len(next_change(job, each).create) for each in ([], one_done)] == [2, 1]


def test_a_cronjob_runs_at_once_and_once() -> None:
    template = {"spec": {"template": {"metadata": {"labels": {"app": "dump"}}, "spec": {}}}}
    job = workload("CronJob", jobTemplate=template)
    done = [pod("a", owner=job, phase="Succeeded")]

    assert next_change(job, []).create[0]["metadata"]["labels"] == {"app": "dump"}
    assert counts(next_change(job, done)) == (0, 0)


def test_a_cronjob_that_is_suspended_does_not_run() -> None:
    assert counts(next_change(workload("CronJob", suspend=True), [])) == (0, 0)


def test_pods_that_have_ended_are_replaced_where_pods_are_to_stay() -> None:
    web = workload("ReplicaSet", replicas=1)

    assert len(next_change(web, [pod("a", owner=web, phase="Failed")]).create) == 1

"""What the status of a workload says."""

from controller.lab.rollout import incomplete, status_of
from tests.unit.lab.cluster import node, pod, workload


def test_a_deployment_whose_pods_are_ready_is_complete() -> None:
    web = workload("Deployment", replicas=2)
    status = status_of(web, [pod(name, owner=web, of=web.hash) for name in ("a", "b")])

    assert not incomplete(web, status)
    assert status["conditions"][1]["reason"] == "NewReplicaSetAvailable"


def test_a_deployment_in_the_middle_of_an_update_is_not() -> None:
    web = workload("Deployment", replicas=2)
    there = [pod(name, owner=web, of=web.hash) for name in ("a", "b")]
    there.append(pod("c", owner=web, of="before"))

    status = status_of(web, there)

    assert incomplete(web, status)
    assert (status["replicas"], status["updatedReplicas"]) == (3, 2)


def test_a_status_of_an_older_generation_says_nothing() -> None:
    old, new = (workload("Deployment", replicas=0, generation=generation) for generation in (1, 2))

    assert incomplete(new, status_of(old, []))


def test_a_daemonset_is_complete_with_a_ready_pod_on_each_node() -> None:
    web = workload("DaemonSet")
    nodes = [node("n1"), node("n2")]
    there = [pod(name, owner=web, of=web.hash, node=name) for name in ("n1", "n2")]

    assert not incomplete(web, status_of(web, there, nodes))
    assert incomplete(web, status_of(web, there[:1], nodes))


def test_a_statefulset_names_both_revisions_during_an_update() -> None:
    web = workload("StatefulSet", replicas=2)
    there = [pod("web-0", owner=web, of="before"), pod("web-1", owner=web, of=web.hash)]

    status = status_of(web, there)

    assert (status["currentRevision"], status["updateRevision"]) == ("web-before", f"web-{web.hash}")
    assert incomplete(web, status)


def test_a_job_is_complete_while_its_pods_run_and_when_they_have_succeeded() -> None:
    job = workload("Job")

    assert not incomplete(job, status_of(job, [pod("a", owner=job)]))
    assert status_of(job, [pod("a", owner=job, phase="Succeeded")])["conditions"][0]["type"] == "Complete"
    assert incomplete(job, status_of(job, []))


def test_what_a_status_leaves_out_is_zero() -> None:
    """kube-apiserver keeps no field that is zero."""
    web = workload("Deployment", replicas=0, generation=1)

    assert not incomplete(web, {"observedGeneration": 1})

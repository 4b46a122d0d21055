"""Workloads as synthetic pods, and which pods spare them that."""

import itertools
from typing import Any

import pytest

from controller.objects.kinds import ContainerPort, Pod, Protocol, Workload
from controller.objects.workloads import WORKLOAD_GROUPS
from tests.unit.objects.writing import Manifest, assemble, codes, pod, workload

WEB = {"app": "web"}


def pods(*manifests: Manifest) -> dict[str, Pod]:
    return {item.name: item for item in assemble(*manifests).cluster.pods}


@pytest.mark.parametrize("kind", WORKLOAD_GROUPS)
def test_each_kind_of_workload_becomes_one_pod(kind: str) -> None:
    containers = [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]
    (found,) = assemble(workload(kind, "shop/web", WEB, containers=containers)).cluster.pods
    assert (found.key, found.workload) == (("shop", "web"), Workload(kind, "web"))
    assert found.labels.items() >= WEB.items()
    assert found.ports == (ContainerPort("http", Protocol.TCP, 8080),)
    assert (found.synthetic, found.phase, found.quarantined) == (True, "Running", False)


@pytest.mark.parametrize("kind", WORKLOAD_GROUPS)
def test_a_pod_that_the_workload_owns_takes_its_place(kind: str) -> None:
    found = pods(workload(kind, "shop/web", WEB), pod("shop/web-0", owner=(kind, "web")))
    assert list(found) == ["web-0"]
    assert found["web-0"].workload == Workload(kind, "web")


@pytest.mark.parametrize("kind", [kind for kind in WORKLOAD_GROUPS if kind not in {"Job", "CronJob"}])
def test_a_pod_that_the_selector_matches_takes_its_place(kind: str) -> None:
    found = pods(workload(kind, "shop/web", WEB), pod("shop/mine", labels=WEB | {"x": "y"}))
    assert list(found) == ["mine"]
    assert found["mine"].workload == Workload(kind, "web")


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
@pytest.mark.parametrize("kind", [kind for kind in WORKLOAD_GROUPS if kind != "Job"])
def test_a_pod_that_has_finished_takes_nobodys_place(kind: str, phase: str) -> None:
    done = pod("shop/web-0", owner=(kind, "web"), status={"phase": phase})

    found = pods(workload(kind, "shop/web", WEB), done)

    assert sorted(found) == ["web", "web-0"]
    assert {each.workload for each in found.values()} == {Workload(kind, "web")}


def test_a_job_whose_pod_has_finished_gets_no_other() -> None:
    found = pods(
        workload("Job", "shop/web", WEB), pod("shop/p", owner=("Job", "web"), status={"phase": "Succeeded"})
    )

    assert sorted(found) == ["p"]


@pytest.mark.parametrize("has_job", [True, False])
def test_a_cron_job_is_there_between_two_runs(has_job: bool) -> None:
    cron = workload("CronJob", "shop/web", WEB)
    job = workload("Job", "shop/web-28000000", WEB, owner=("CronJob", "web"))
    done = pod("shop/p", owner=("Job", "web-28000000"), status={"phase": "Succeeded"})

    found = pods(cron, *([job] if has_job else []), done)

    assert sorted(found) == ["p", "web"]
    assert found["web"].synthetic


def test_pods_of_other_namespaces_take_nobodys_place() -> None:
    assert sorted(pods(workload("Deployment", "shop/web", WEB), pod("prod/mine", labels=WEB))) == [
        "mine",
        "web",
    ]


@pytest.mark.parametrize(
    ("upper", "lower", "run"), [("Deployment", "ReplicaSet", "web-5d"), ("CronJob", "Job", "web-28000000")]
)
def test_a_chain_of_owners_is_followed(upper: str, lower: str, run: str) -> None:
    top = workload(upper, "shop/web", {"a": "b"})
    middle = workload(lower, "shop/" + run, {"a": "b"}, owner=(upper, "web"))
    assert list(pods(top, middle)) == ["web"]
    found = pods(top, middle, pod("shop/p", owner=(lower, run)))
    assert list(found) == ["p"]
    assert found["p"].workload == Workload(upper, "web")


def test_a_deployment_is_known_by_its_replica_sets_name_when_that_is_not_in_the_files() -> None:
    found = pods(
        workload("Deployment", "shop/web", {"other": "label"}),
        pod("shop/p", owner=("ReplicaSet", "web-5d"), labels={"pod-template-hash": "5d"}),
    )
    assert list(found) == ["p"]
    assert found["p"].workload == Workload("Deployment", "web")


def test_a_replica_set_without_its_deployment_stands_for_itself() -> None:
    assert list(pods(workload("ReplicaSet", "shop/web-5d", WEB, owner=("Deployment", "web")))) == ["web-5d"]


def test_owners_in_a_circle_end() -> None:
    one = workload("ReplicaSet", "shop/a", WEB, owner=("ReplicaSet", "b"))
    two = workload("ReplicaSet", "shop/b", WEB, owner=("ReplicaSet", "a"))
    assert list(pods(one, two, pod("shop/p", owner=("ReplicaSet", "a")))) == ["p"]


def test_a_name_that_is_taken_gets_the_kind_behind_it() -> None:
    found = pods(workload("Deployment", "shop/web", WEB), pod("shop/web", labels={}))
    assert sorted(found) == ["web", "web-deployment"]
    assert not found["web"].synthetic


def test_workloads_of_one_name_share_it_in_a_fixed_order() -> None:
    manifests = [
        workload("Deployment", "shop/web", {"a": "1"}),
        workload("StatefulSet", "shop/web", {"a": "2"}),
        workload("Job", "shop/web", {"a": "3"}),
    ]
    for order in itertools.permutations(manifests):
        labels = {name: item.labels["a"] for name, item in pods(*order).items()}
        assert labels == {"web": "1", "web-statefulset": "2", "web-job": "3"}


def test_host_network_of_the_template_is_kept() -> None:
    (found,) = assemble(workload("DaemonSet", "kube-system/proxy", {}, hostNetwork=True)).cluster.pods
    assert found.host_network


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"spec": None}, "spec"),
        ({"spec": []}, "spec"),
        ({"spec": {}}, "spec.template"),
        ({"spec": {"template": 5}}, "spec.template"),
        ({"spec": {"template": {"metadata": 5}}}, ""),
        ({"spec": {"template": {"metadata": {"labels": {"a": True}}}}}, "spec.template.metadata.labels[a]"),
        ({"spec": {"template": {"spec": {"containers": 5}}}}, "spec.template.spec.containers"),
    ],
)
def test_a_workload_that_cannot_be_read_becomes_a_quarantined_pod(change: dict[str, Any], path: str) -> None:
    assembly = assemble(workload("Deployment", "shop/web", WEB) | change)
    (found,) = assembly.cluster.pods
    assert found.quarantined
    assert path in [finding.path for finding in assembly.findings]


def test_an_unreadable_selector_matches_no_pod() -> None:
    broken = workload("Deployment", "shop/web", WEB)
    broken["spec"]["selector"] = {"matchLabels": 5}
    assembly = assemble(broken, pod("shop/p", labels=WEB))
    assert [item.name for item in assembly.cluster.pods] == ["p", "web"]
    assert codes(assembly) == ["wrong-type"]


@pytest.mark.parametrize(
    ("kind", "added"),
    [
        ("Deployment", {"pod-template-hash"}),
        ("ReplicaSet", set()),
        ("ReplicationController", set()),
        ("DaemonSet", {"controller-revision-hash"}),
        (
            "StatefulSet",
            {
                "controller-revision-hash",
                "statefulset.kubernetes.io/pod-name",
                "apps.kubernetes.io/pod-index",
            },
        ),
        ("Job", {"job-name", "batch.kubernetes.io/job-name"}),
        ("CronJob", set()),
    ],
)
def test_a_synthetic_pod_has_the_labels_that_its_controller_adds(kind: str, added: set[str]) -> None:
    (found,) = assemble(workload(kind, "shop/web", WEB)).cluster.pods
    assert found.labels.keys() - WEB.keys() == added
    (again,) = assemble(workload(kind, "shop/web", WEB, containers=[{"name": "other"}])).cluster.pods
    assert again.labels == found.labels


def test_labels_that_name_the_workload_or_its_first_pod_do() -> None:
    (job,) = assemble(workload("Job", "shop/backup", {})).cluster.pods
    assert job.labels == {"job-name": "backup", "batch.kubernetes.io/job-name": "backup"}
    (redis,) = assemble(workload("StatefulSet", "shop/redis", {})).cluster.pods
    assert redis.labels["statefulset.kubernetes.io/pod-name"] == "redis-0"
    assert redis.labels["apps.kubernetes.io/pod-index"] == "0"


@pytest.mark.parametrize("name", ["x" * 70, "a b", ""])
def test_a_name_that_is_no_label_adds_none(name: str) -> None:
    (found,) = assemble(workload("Job", f"shop/{name}", {})).cluster.pods
    assert found.labels == {}

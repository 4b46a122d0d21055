"""What podgate asks of a cluster is as little as it needs."""

import pytest

from controller import __version__
from tests.unit.manifests.folders import (
    BASE,
    CLEANUP,
    MANIFESTS,
    WORKLOADS,
    Object,
    built,
    containers,
    named,
    needs_kubectl,
    read,
    title,
)

INSTALLED = read(BASE)
CLEANING = read(CLEANUP)
OPERATOR = named("Deployment", "podgate-operator", INSTALLED)
AGENT = named("DaemonSet", "podgate-agent", INSTALLED)
CLEANER = named("DaemonSet", "podgate-cleanup", CLEANING)
ON_EVERY_NODE = [AGENT, CLEANER]
PODS = [OPERATOR, *ON_EVERY_NODE]
CONTAINERS = containers(*PODS)


def pod(found: Object) -> Object:
    spec: Object = found["spec"]["template"]["spec"]
    return spec


def by_name(found: Object) -> str:
    name: str = found["name"]
    return name


@pytest.mark.parametrize("container", CONTAINERS, ids=by_name)
def test_a_container_runs_this_version(container: Object) -> None:
    assert container["image"] == f"localhost/podgate:{__version__}"


@pytest.mark.parametrize("container", CONTAINERS, ids=by_name)
def test_a_container_gains_nothing_and_writes_nowhere_in_its_image(container: Object) -> None:
    context = container["securityContext"]

    assert not context.get("privileged")
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"]["drop"] == ["ALL"]


def test_only_what_programmes_a_kernel_has_capabilities_and_those_are_two() -> None:
    added = {each["name"]: each["securityContext"]["capabilities"].get("add", []) for each in CONTAINERS}

    two = ["NET_ADMIN", "NET_RAW"]
    assert added == {"operator": [], "agent": two, "cleanup": two, "done": []}


@pytest.mark.parametrize("found", PODS, ids=title)
def test_a_pod_has_the_seccomp_profile_of_the_runtime(found: Object) -> None:
    assert pod(found)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


def test_the_operator_is_not_root() -> None:
    context = pod(OPERATOR)["securityContext"]

    assert (context["runAsNonRoot"], context["runAsUser"]) == (True, 65532)


@pytest.mark.parametrize("container", CONTAINERS, ids=by_name)
def test_a_container_says_what_it_needs_and_is_never_throttled(container: Object) -> None:
    resources = container["resources"]

    assert resources["requests"].keys() == {"cpu", "memory"}
    assert resources["limits"].keys() == {"memory"}


@pytest.mark.parametrize("found", ON_EVERY_NODE, ids=title)
def test_a_node_is_served_whatever_its_taints(found: Object) -> None:
    assert pod(found)["tolerations"] == [{"operator": "Exists"}]
    assert pod(found)["nodeSelector"] == {"kubernetes.io/os": "linux"}


def test_pods_that_others_depend_on_are_the_last_to_be_evicted() -> None:
    assert [pod(found)["priorityClassName"] for found in PODS] == [
        "system-cluster-critical",
        "system-node-critical",
        "system-node-critical",
    ]


@pytest.mark.parametrize("found", ON_EVERY_NODE, ids=title)
def test_of_the_host_only_the_lock_and_the_state_are_mounted(found: Object) -> None:
    paths = [volume["hostPath"] for volume in pod(found)["volumes"] if "hostPath" in volume]

    assert paths == [
        {"path": "/run/xtables.lock", "type": "FileOrCreate"},
        {"path": "/var/lib/podgate", "type": "DirectoryOrCreate"},
    ]


@pytest.mark.parametrize("found", PODS, ids=title)
def test_every_volume_is_mounted(found: Object) -> None:
    mounts = {mount["name"] for each in containers(found) for mount in each.get("volumeMounts", ())}

    assert mounts == {volume["name"] for volume in pod(found)["volumes"]}


def test_the_namespace_admits_the_agent_and_says_so() -> None:
    labels = named("Namespace", "podgate-system", INSTALLED)["metadata"]["labels"]

    assert labels["pod-security.kubernetes.io/enforce"] == "privileged"


def test_a_token_is_mounted_only_where_the_api_server_is_asked() -> None:
    assert [pod(found)["automountServiceAccountToken"] for found in PODS] == [True, True, False]


@pytest.mark.parametrize(
    "found", [found for found in INSTALLED if found["kind"] == "ServiceAccount"], ids=title
)
def test_other_pods_do_not_get_the_token_by_accident(found: Object) -> None:
    assert found["automountServiceAccountToken"] is False


@pytest.mark.parametrize("found", [OPERATOR, AGENT], ids=title)
def test_losing_the_api_server_for_a_moment_does_not_make_a_pod_unready(found: Object) -> None:
    (container,) = containers(found)

    assert container["readinessProbe"]["failureThreshold"] >= 8
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"


def test_one_operator_does_not_block_a_drain() -> None:
    assert OPERATOR["spec"]["replicas"] == 1
    assert not [found for found in INSTALLED if found["kind"] == "PodDisruptionBudget"]


@needs_kubectl
def test_two_operators_stand_on_two_nodes_and_one_stays() -> None:
    found = built(MANIFESTS / "overlays" / "ha")
    operator = named("Deployment", "podgate-operator", found)

    (apart,) = pod(operator)["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert operator["spec"]["replicas"] == 2
    assert apart["topologyKey"] == "kubernetes.io/hostname"
    assert apart["labelSelector"] == operator["spec"]["selector"]
    budget = named("PodDisruptionBudget", "podgate-operator", found)["spec"]
    assert budget == {"minAvailable": 1, "selector": operator["spec"]["selector"]}


@needs_kubectl
@pytest.mark.parametrize("overlay", ["audit", "drop-log", "kind", "ha", "monitoring"])
def test_an_overlay_changes_nothing_of_security(overlay: str) -> None:
    found = built(MANIFESTS / "overlays" / overlay)

    contexts = [each["securityContext"] for each in containers(*found)]
    assert contexts == [each["securityContext"] for each in containers(*built(BASE))]


@needs_kubectl
def test_monitoring_moves_the_agents_health_to_the_node_address_and_changes_nothing_else() -> None:
    (plain,) = containers(AGENT)
    (watched,) = containers(named("DaemonSet", "podgate-agent", built(MANIFESTS / "overlays" / "monitoring")))

    moved = [
        "--health-address=[$(HOST_IP)]:9441" if argument.startswith("--health-address=") else argument
        for argument in plain["args"]
    ]
    assert watched["args"] == moved
    assert "host" not in watched["readinessProbe"]["httpGet"]
    assert "host" not in watched["livenessProbe"]["httpGet"]


@pytest.mark.parametrize("found", [found for found in INSTALLED if found["kind"] in WORKLOADS], ids=title)
def test_a_selector_finds_its_pods_and_those_of_nobody_else(found: Object) -> None:
    selector = found["spec"]["selector"]["matchLabels"]

    assert selector.items() <= found["spec"]["template"]["metadata"]["labels"].items()
    others = [other for other in PODS if other is not found]
    assert not [
        title(other)
        for other in others
        if selector.items() <= other["spec"]["template"]["metadata"]["labels"].items()
    ]
